"""val.py: a model scored on a data set, whatever runs it."""
