"""From a folder of labels and images to splits: what `data import` finds, groups and writes.

finding.py      labels of any layout below a folder, and the images that belong to them
alike.py        images that are the same photo
splitting.py    groups to train, val and test, classes in proportion
writing.py      the lists, or instances files, that the readers take; nothing is copied
"""
