"""Building blocks of darkslim; nothing in here imports `models.py`."""
