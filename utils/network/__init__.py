"""What a cfg and its tensors mean: layers, the channel graph, weights, costs."""
