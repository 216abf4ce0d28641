"""export.py: a model as files for another runtime, which are run before they are put in place."""
