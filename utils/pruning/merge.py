"""Routes whose inputs become the same tensor once residual blocks are gone.

A C2f stage that loses a bottleneck concatenates one tensor twice. If only convolutions read the
concatenation, it is enough once: the reader's weights for the two parts are summed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..network.graph import ChannelGraph, Mask
from ..network.layers import Layer


@dataclass(frozen=True)
class Merge:
    """A route that names a tensor more than once.

    sources: positions in its list that stay. parts: (slice of the first, slice of the repeated) of
    its output channels. stays: mask over them.
    """

    sources: tuple[int, ...]
    parts: tuple[tuple[slice, slice], ...]
    stays: Mask


def find_merges(graph: ChannelGraph, stand_in: Mapping[int, int]) -> dict[int, Merge]:
    """The routes that can name a tensor once less, by index, when `stand_in` takes effect."""
    if not stand_in:
        return {}
    readers = _readers(graph.layers)
    found = {}
    for layer in graph.layers:
        numbers = layer.concatenates
        if layer.index in stand_in or len(numbers) < 2 or not _summable(layer, graph, readers):
            continue
        merge = _merge([_resolved(source, stand_in) for source in numbers], layer)
        if merge is not None:
            found[layer.index] = merge
    return found


def _merge(resolved: Sequence[int], layer: Layer) -> Merge | None:
    ends = np.cumsum([0, *(shape[0] for shape in layer.inputs)]).tolist()
    first: dict[int, slice] = {}
    sources, parts = [], []
    stays = np.ones(layer.shape[0], bool)
    for position, source in enumerate(resolved):
        part = slice(ends[position], ends[position + 1])
        if source in first:
            parts.append((first[source], part))
            stays[part] = False
        else:
            first[source] = part
            sources.append(position)
    return Merge(tuple(sources), tuple(parts), stays) if parts else None


def _summable(layer: Layer, graph: ChannelGraph, readers: Mapping[int, list[Layer]]) -> bool:
    """Whether all that read the route are convolutions that can sum its parts."""
    shared = {other.owner for other in graph.layers if other.owner != other.index}
    found = readers.get(layer.index, [])
    return bool(found) and all(r.sums_inputs and r.index not in shared for r in found)


def _readers(layers: Sequence[Layer]) -> dict[int, list[Layer]]:
    found: dict[int, list[Layer]] = {}
    for layer in layers:
        for source in layer.sources:
            found.setdefault(source, []).append(layer)
    return found


def _resolved(index: int, stand_in: Mapping[int, int]) -> int:
    while index in stand_in:
        index = stand_in[index]
    return index
