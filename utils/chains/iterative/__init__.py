"""A network pruned a little, finetuned, and so on: iterative_prune.py."""
