"""Importance that reads nothing but the batch normalisation: gamma, or gamma and beta.

Batch normalisation makes a channel's value before the activation z = gamma n + beta, where n has
mean 0 and variance 1 over the training images; it is taken to be normal.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ...network.graph import ChannelGraph
from ...network.layers import Layer
from ...network.layers.activations import ELEMENTWISE
from .scores import Scores, Values, batch_norms

# Nodes and weights for the mean over n ~ N(0, 1). The trapezoidal rule with the normal density as
# its weights: exponentially exact for smooth functions (Trefethen and Weideman, "The Exponentially
# Convergent Trapezoidal Rule", SIAM Review 2014), and off by at most step^2 / 12 * 0.4 = 1.3e-5
# gamma at a kink such as relu's, where Gauss-Hermite nodes, being fewer, would be off by more.
_NODES = np.linspace(-8.0, 8.0, 801)
_WEIGHTS = np.exp(-_NODES * _NODES / 2)
_WEIGHTS /= _WEIGHTS.sum()
_AT_ONCE = 128  # channels: a table of nodes takes 800 KB then


def batch_norm_scale(graph: ChannelGraph, state: Mapping[str, Tensor]) -> Scores:
    """|gamma|.

    Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017.
    """
    return {index: np.abs(gamma) for index, gamma, _ in batch_norms(graph, state)}


def expected_activation(graph: ChannelGraph, state: Mapping[str, Tensor]) -> Scores:
    """E |activation(z)| for z ~ N(beta, gamma^2): how much the channel hands on, on average.

    A channel with a small gamma may still matter by its beta, and one whose beta is far below 0
    hardly ever passes a relu: Kang and Han, "Operation-Aware Soft Channel Pruning using
    Differentiable Masks", ICML 2020, judge channels by the same normal z.
    """
    return {
        index: mean_magnitude(activation_of(graph.layers[index]), gamma, beta)
        for index, gamma, beta in batch_norms(graph, state)
    }


def expected_change(graph: ChannelGraph, state: Mapping[str, Tensor]) -> Scores:
    """E |activation(z) - activation(beta)|: what is lost when the channel goes and is folded.

    Pruning moves activation(beta) into the layers behind, so a channel whose gamma is 0 costs
    nothing whatever its beta.
    """
    return {
        index: mean_magnitude(activation_of(graph.layers[index]), gamma, beta, folded=True)
        for index, gamma, beta in batch_norms(graph, state)
    }


def mean_magnitude(name: str, gamma: Values, beta: Values, folded: bool = False) -> Values:
    """E |a(z)|, or with `folded` E |a(z) - a(beta)|, for z ~ N(beta, gamma^2); (C,) each."""
    activation = ELEMENTWISE[name]
    magnitude: Values = np.empty(len(gamma))
    for start in range(0, len(gamma), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        z = beta[some, None] + gamma[some, None] * _NODES  # (channels, nodes)
        value = activation(torch.from_numpy(z)).numpy()
        if folded:
            value = value - activation(torch.from_numpy(beta[some])).numpy()[:, None]
        magnitude[some] = np.abs(value) @ _WEIGHTS
    return magnitude


def activation_of(layer: Layer) -> str:
    """The activation behind its batch normalisation; linear for one that mixes channels.

    Those channels are pinned, so their score decides nothing.
    """
    return layer.activation if layer.activation in ELEMENTWISE else "linear"
