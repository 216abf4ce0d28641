"""The pull on gammas that makes channels prunable."""
