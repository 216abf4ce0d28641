"""Channels that are multiplied, as queries and keys are: what a pair costs, not each of the two.

A pair's part of a product is q k. Softmax does not see what is the same for all keys, so of k only
what varies counts, of q all of it: with batch normalisation q = beta + gamma n and k - beta =
gamma n, whose root mean squares are sqrt(gamma_q^2 + beta_q^2) and |gamma_k|. The score is the root
of their product, which lies on the scale of the other channels' scores; it is 0, as the cost is,
where the key's gamma is 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from ...network.graph import ChannelGraph
from ...network.weights import key_of
from .batch_norm import activation_of, mean_magnitude
from .options import IMPORTANCES, Kind, OfPair
from .scores import Scores, Values, as_values

_LEAST = 1e-12  # gammas below say nothing about the score per gamma


def with_pairs(
    graph: ChannelGraph, state: Mapping[str, Tensor], scores: Scores, kind: Kind
) -> Scores:
    """The scores of an importance, with one for both channels of each pair, by its own rule.

    "varying": scores tell what varies, which is all of the key and too little of the query; "both
    known": they count beta in, which is right for the query and too much for the key. "second":
    the key's alone, since its gamma's slope leaves out what softmax does. "sum": all weights of
    both go. "each": no score says anything of the other.
    """
    found = dict(scores)
    rule = IMPORTANCES[kind].pair
    for layer in graph.layers:
        if layer.paired is None or rule == "each":
            continue
        first, second = layer.paired
        if first == second or not {first, second} <= set(scores):
            continue
        if rule == "second":
            pair = scores[second]
        elif rule == "sum":
            pair = scores[first] + scores[second]
        else:
            whole = _whole(state, first, scores, rule)
            pair = np.sqrt(whole * _varying(graph, state, second, scores, rule))
        found[first] = found[second] = pair
    return found


def _whole(state: Mapping[str, Tensor], index: int, scores: Scores, rule: OfPair) -> Values:
    """A score as if the channel varied by its root mean square, not by its gamma alone."""
    found = _batch_norm(state, index)
    if found is None or rule == "both known":
        return scores[index]
    gamma, beta = found
    varies = gamma > _LEAST
    per_gamma = np.divide(scores[index], gamma, out=np.zeros_like(gamma), where=varies)
    per_gamma[~varies] = per_gamma[varies].mean() if varies.any() else 1.0
    whole: Values = per_gamma * np.hypot(gamma, beta)
    return whole


def _varying(
    graph: ChannelGraph, state: Mapping[str, Tensor], index: int, scores: Scores, rule: OfPair
) -> Values:
    """A score of what varies; of those that count beta in, without it."""
    found = _batch_norm(state, index)
    if found is None or rule != "both known":
        return scores[index]
    return mean_magnitude(activation_of(graph.layers[index]), *found, folded=True)


def _batch_norm(state: Mapping[str, Tensor], index: int) -> tuple[Values, Values] | None:
    """|gamma| and beta, if the layer has them."""
    gamma = state.get(key_of(index, "bn.weight"))
    if gamma is None:
        return None
    return np.abs(as_values(gamma)), as_values(state[key_of(index, "bn.bias")])
