"""What cfginfo.py prints of a cfg and its weights."""
