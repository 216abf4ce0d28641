"""From what was asked for to a plan: scores, limits, and the chooser that puts them together."""
