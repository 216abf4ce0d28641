"""From a trained network and goals to a smaller one that meets them: compress.py."""
