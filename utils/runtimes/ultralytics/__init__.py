"""export.py --format ultralytics: a network back as a checkpoint of the library it came from."""
