"""The pruning scripts' engine: from flags to files."""
