"""RetinaNet: pyramid, anchors, head, torchvision's state dicts."""
