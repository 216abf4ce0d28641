"""demo.py: the models of its line, beside each other in PyTorch and OpenCV."""
