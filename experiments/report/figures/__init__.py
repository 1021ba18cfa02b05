"""Figures, each in two steps: an info (plain numbers, tested without a picture), then a drawing
of it.

| file | shows |
|---|---|
| differences | each arm minus the baseline with its 95 % interval |
| gamma | mAP against gamma, a dot a seed |
| heatmap | mean mAP over alpha and gamma |
| curves | training loss and validation mAP |
| schedules | gamma and alpha in force while training |
| classes | best arm minus baseline by class |
| recall | precision against recall, of all classes and by class |
| errors | what mending each kind of error would gain |
| calibration | how far scores can be believed |
| anatomy | the cumulative loss of foreground and background (Figure 4 of the paper) |
"""
