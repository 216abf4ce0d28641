"""Is a model sparse enough to be pruned: its gammas looked at, one file of weights or several."""
