"""What an importance is: a score per output channel, comparable between the layers or made so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...network.graph import ChannelGraph
from ...network.weights import key_of
from .options import Normalization

Values = NDArray[np.float64]
Scores = dict[int, Values]  # layer that issues channels -> score of each of them (C,)


def normalize(scores: Scores, how: Normalization) -> Scores:
    """Scores divided by the mean over their layer, or over all channels; zeros stay zeros.

    "layer" makes each layer's channels compete as equals, for kinds whose size depends on the
    layer's shape (Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient
    Inference", ICLR 2017, rescale layer by layer for the same reason). "global" leaves the
    order as it is and makes thresholds of different kinds comparable.
    """
    if how == "none" or not scores:
        return scores
    if how == "layer":
        return {index: _over(values, values.mean()) for index, values in scores.items()}
    mean = np.concatenate(list(scores.values())).mean()
    return {index: _over(values, mean) for index, values in scores.items()}


def _over(values: Values, scale: float) -> Values:
    return values / scale if scale else values


def batch_norms(
    graph: ChannelGraph, state: Mapping[str, Tensor]
) -> Iterator[tuple[int, Values, Values]]:
    """Layer, gamma (C,) and beta (C,) of every layer with a kernel and batch normalisation."""
    for index in graph.issued:
        gamma = state.get(key_of(index, "bn.weight"))
        if gamma is not None:
            yield index, as_values(gamma), as_values(state[key_of(index, "bn.bias")])


def as_values(tensor: Tensor) -> Values:
    """The numbers of a tensor in float64."""
    values: Values = tensor.detach().double().cpu().numpy()
    return values
