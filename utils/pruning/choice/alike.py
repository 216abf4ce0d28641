"""Which channels are ranked against each other: all, those of groups built alike, or one group's.

Fang et al., "Isomorphic Pruning for Vision Models", ECCV 2024: scores of sub-structures that differ
in kind (a branch and a trunk, a 1x1 and a 3x3 layer) do not compare, so a ranking of all channels
empties one kind first. There the sub-structures whose graphs are isomorphic, layers labelled by
what they are and do, form a pool, and each pool loses the same share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator

import numpy as np

from ...network.graph import ChannelGraph, Mask
from ...network.layers import Layer
from ..candidates import Candidates
from ..importance.options import Among
from ..importance.scores import Scores
from ..sensitivity.groups import Group, find_groups


def places(graph: ChannelGraph, scores: Scores, candidates: Candidates, among: Among) -> Scores:
    """For each channel, the share of its pool's candidates that score less, in 0..1.

    The pool: all channels of the groups with the same structure ("isomorphic"), or of one group
    ("layer"). So one threshold on all places takes the same share of each pool, and within a pool
    the order, equal scores included, is that of the scores. "global" leaves the scores as they are.
    What is not finite becomes NaN.
    """
    if among == "global":
        return scores
    found = dict(scores)
    for layers in pools(graph, among):
        judged = [index for index in layers if index in scores]
        free = [scores[i][candidates.prunable[i]] for i in judged if i in candidates.prunable]
        pool = np.sort(np.concatenate([np.empty(0), *free]))
        for index in judged:
            below = np.searchsorted(pool, scores[index], side="left") / max(1, len(pool))
            found[index] = np.where(np.isfinite(scores[index]), below, np.nan)
    return found


def pools(graph: ChannelGraph, among: Among) -> Iterator[tuple[int, ...]]:
    """Layers whose channels are ranked against each other, each layer once."""
    groups = find_groups(graph)
    if among == "global":
        yield tuple(index for group in groups for index in group.layers)
        return
    alike: dict[Hashable, list[int]] = {}
    for group in groups:
        key = group.layers if among == "layer" else structure(graph, group)
        alike.setdefault(key, []).extend(group.layers)
    yield from map(tuple, alike.values())


def structure(graph: ChannelGraph, group: Group) -> str:
    """A word that groups of isomorphic structure have in common; how wide they are is no part.

    The graph: all layers that issue, hand on or read the group's channels, each labelled by its
    kind, kernel size, normalisation, activation and role, with an edge from each source. The word
    comes from refining the labels by their neighbours' until they tell no more apart (Weisfeiler
    and Leman, 1968), which does not separate every two graphs, but any that networks are made of.
    """
    own: Mask = np.zeros(graph.count, bool)
    own[group.classes] = True
    writes = {layer.index for layer in graph.layers if own[graph.outputs[layer.index]].any()}
    reads = {
        layer.index
        for layer in graph.layers
        if any(own[ids].any() for ids in graph.inputs[layer.index])
    }
    labels = {
        index: _digest(
            _kind(graph.layers[index]), index in group.layers, index in writes, index in reads
        )
        for index in sorted(writes | reads)
    }
    sources = {i: [s for s in graph.layers[i].sources if s in writes] for i in labels}
    readers: dict[int, list[int]] = {index: [] for index in labels}
    for index, named in sources.items():
        for source in named:
            readers[source].append(index)
    told = 0
    while len(set(labels.values())) > told:
        told = len(set(labels.values()))
        labels = {
            index: _digest(
                label,
                [labels[s] for s in sources[index]],  # in order: a product's sides may differ
                sorted(labels[r] for r in readers[index]),
            )
            for index, label in labels.items()
        }
    return _digest(sorted(labels.values()))


def _kind(layer: Layer) -> tuple[object, ...]:
    """What a layer is, whatever its width."""
    kernel = max((field.shape for field in layer.fields()), key=len, default=())
    return (layer.section.kind, layer.role, kernel[2:], layer.normalized, layer.activation)


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
