"""sensitivity.py: every group cut to several shares and scored on the development images."""
