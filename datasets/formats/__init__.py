"""Label files to labels as written: what VOC's XML, COCO's JSON and YOLO's text say, and where."""
