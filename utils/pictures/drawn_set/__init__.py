"""The embedded data set of data/shapes.py: drawn, so that it needs no download."""
