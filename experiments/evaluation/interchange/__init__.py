"""Detections in others' files. Truth is not read here: labels have one reader (`datasets/`).

names.py       which image and which class of the truth a name or a number in a file means
text.py        lines of text, and their faults
devkit.py      one file a class: the devkit's `comp4_det_test_CLASS.txt`, our `detect --voc`
per_image.py   one file an image: Padilla's and Cartucho's
darknet.py     Darknet's own JSON
results.py     JSON: COCO's results, as a list or in an object; ultralytics'; our `detections.json`
reading.py     whichever of them a path holds
"""
