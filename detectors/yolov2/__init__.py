"""YOLOv2: Darknet-19, region layer, Darknet's files."""
