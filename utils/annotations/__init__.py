"""Annotations of other tools, read into Darknet's layout, and back to COCO's JSON."""
