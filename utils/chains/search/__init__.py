"""search.py: widths under budgets, found by scoring cut networks: a study that processes share."""
