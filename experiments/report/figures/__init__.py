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
"""
