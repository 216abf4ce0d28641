"""One score per output channel: how much the network would miss it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..graph import ChannelGraph
from ..weights import key_of

Scores = dict[int, NDArray[np.float64]]  # convolution -> score per output channel


def batch_norm_scale(graph: ChannelGraph, state: Mapping[str, Tensor]) -> Scores:
    """|gamma| of each channel of the convolutions that have batch normalisation.

    Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017.
    """
    scores: Scores = {}
    for index in graph.issued:
        gamma = state.get(key_of(index, "bn.weight"))
        if gamma is not None:
            scores[index] = gamma.detach().double().abs().cpu().numpy()
    return scores
