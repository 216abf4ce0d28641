"""Masks: weights set to 0 and held there, by `torch.nn.utils.prune`."""
