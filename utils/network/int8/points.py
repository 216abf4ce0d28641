"""Which values of a network lie on grids of 8 bits, by its cfg alone.

As runtimes have it: the image, each sum that a convolution gives to an activation, and each value
that a later layer computes with. In float stay what only heads read, since pixels and probabilities
leave no scale for both, and what nobody reads: the outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..layers import INPUT, Head, Layer

# A sum that these follow needs no grid of its own: their value's is finer, and runtimes join them.
_CUT_ONLY = ("linear", "relu", "relu6")


@dataclass(frozen=True)
class Points:
    """Names of grids by the layer whose value lies on one.

    own: values with a grid of their own, INPUT for the image. lent: values of layers that hand on
    numbers as they are, which therefore lie on the grid of another: its name. sums: convolutions
    whose sum has a grid, as well.
    """

    own: tuple[int, ...]
    lent: dict[int, int]
    sums: tuple[int, ...]

    def names(self) -> tuple[str, ...]:
        """Of all grids, as checkpoints hold them."""
        return (*map(value_name, self.own), *map(sum_name, self.sums))

    def source(self, layer: int) -> int | None:
        """The value whose grid a layer's value lies on; None for those in float."""
        return layer if layer in self.own else self.lent.get(layer)


def value_name(layer: int) -> str:
    """The grid of a layer's value."""
    return "image" if layer == INPUT else f"{layer}"


def sum_name(layer: int) -> str:
    """The grid of a convolution's sum."""
    return f"{layer}-sum"


def points_of(rules: Sequence[Layer]) -> Points:
    """The grids of a network with these layers."""
    readers: dict[int, list[Layer]] = {layer.index: [] for layer in rules}
    for layer in rules:
        for source in set(layer.sources) - {INPUT}:
            readers[source].append(layer)
    in_float: set[int] = set()
    for layer in reversed(rules):
        followers = readers[layer.index]
        if all(isinstance(r, Head) or (r.hands_on and r.index in in_float) for r in followers):
            in_float.add(layer.index)
    own, lent, sums = [INPUT], dict[int, int](), []
    for layer in rules:
        if layer.index in in_float:
            continue
        if layer.hands_on and len(layer.sources) == 1:
            source = layer.sources[0]
            lent[layer.index] = lent.get(source, source)
            continue
        own.append(layer.index)
        if layer.has_kernel and layer.activation not in _CUT_ONLY:
            sums.append(layer.index)
    return Points(tuple(own), lent, tuple(sums))
