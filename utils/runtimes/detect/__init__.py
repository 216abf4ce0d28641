"""detect.py: what a model finds in pictures and videos, whatever runs it."""
