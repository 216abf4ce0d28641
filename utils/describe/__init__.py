"""What cfginfo.py prints of a cfg and its weights, and make_cfg.py of the heads of a copy."""
