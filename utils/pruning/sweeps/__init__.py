"""Several ratios or numbers of shortcuts measured, and the best of them chosen."""
