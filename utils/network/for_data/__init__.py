"""A network for another data set: its classes, its anchors, the weights that still fit."""
