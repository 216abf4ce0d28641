"""Pruning: a rewrite of the cfg and a slice of the tensors, proved before it is written."""
