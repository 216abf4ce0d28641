"""Parts of the training loop; `train.py` puts them together."""
