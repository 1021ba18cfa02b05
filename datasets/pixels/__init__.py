"""What image files hold, without torch: sizes and orientation of their headers, pixels by Pillow.

header.py        (height, width, EXIF orientation), no pixel decoded
reading.py       a file's bytes to RGB in 8 bit
orientation.py   whether a set's labels are of the pixels as stored, or of the picture upright
"""
