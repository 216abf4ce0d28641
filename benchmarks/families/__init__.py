"""Checkpoints of all families through everything that darkslim does with them: one table."""
