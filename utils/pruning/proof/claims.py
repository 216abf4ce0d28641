"""What the proof claims of every layer, and values for which it holds.

    value of the masked network = value of the pruned one, at the channels that stay,
                                  + the layer's constants

A channel that goes has the value 0 in the pruned network, so its constant is all there is of it.
Where a route came to name a tensor twice, the second of the two equal parts is the first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...network.layers import INPUT, Layer
from ..plan import PrunePlan
from ..surgery import surviving

Size = tuple[int, int]  # rows, columns of a map

ONE_CELL: Size = (1, 1)


class Claims:
    """Which layer of the pruned network each full one is, and what it keeps."""

    def __init__(self, plan: PrunePlan, compact: Sequence[Layer]) -> None:
        self.plan = plan
        self.layers = compact
        self.places = surviving(plan)
        placed = set(self.places.values())
        self.inserted = [layer for layer in compact if layer.index not in placed]
        self._inserted = {layer.index: layer.sources for layer in self.inserted}

    def stands_for(self, index: int) -> int:
        """The pruned network's layer that holds what is left of a full layer's value."""
        while index in self.plan.stand_in:
            index = self.plan.stand_in[index]
        return INPUT if index == INPUT else self.places[index]

    def origin(self, index: int) -> int:
        """Of a [route] that was put in, the layer whose value it hands on; else the layer."""
        while index in self._inserted:
            index = self._inserted[index][0]
        return index

    def kept(self, index: int) -> Tensor | None:
        """Mask over the channels of a full layer; None where all stay."""
        if index == INPUT:
            return None
        kept = self.plan.kept(index)
        return None if bool(kept.all()) else kept


class Values:
    """Random values of some layers in both networks, such that the claim holds of each.

    `sizes`: of each map that is drawn, by the pruned network's layers; the first one's otherwise.
    Numbers lie in -1.5..-.5 and .5..1.5: none is so small that a weight would not be seen.
    """

    def __init__(
        self, claims: Claims, sizes: Mapping[int, Size], generator: torch.Generator
    ) -> None:
        self._claims = claims
        self._sizes = sizes
        self._generator = generator
        self._drawn: dict[int, Tensor] = {}

    def compact(self, index: int) -> Tensor:
        """The pruned network's value of its layer `index` (1, C, H, W)."""
        index = self._claims.origin(index)
        if index not in self._drawn:
            layers = self._claims.layers
            channels = layers[0].inputs[0][0] if index == INPUT else layers[index].shape[0]
            size = self._sizes.get(index) or next(iter(self._sizes.values()), ONE_CELL)
            self._drawn[index] = drawn((1, channels, *size), self._generator)
        return self._drawn[index]

    def full(self, index: int, constants: Tensor | None = None) -> Tensor:
        """The full network's (1, C, H, W) of its layer `index`.

        With the layer's `constants` (C,) that of the masked network; without, that of the folded
        one, in which channels that go are held at 0.
        """
        kept = self._claims.kept(index)
        value = self.compact(self._claims.stands_for(index))
        if kept is not None:
            places = kept.nonzero().flatten()
            if len(places) != value.shape[1]:
                raise ValueError(f"{value.shape[1]} channels where {len(places)} stay")
            whole = value.new_zeros((1, len(kept), *value.shape[2:]))
            value = whole.index_copy_(1, places, value)
            if index in self._claims.plan.merges:
                for first, repeated in self._claims.plan.merges[index].parts:
                    value[:, repeated] = value[:, first]
        if constants is None or not bool(constants.any()):
            return value
        return value + constants.view(1, -1, 1, 1)


def drawn(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Random numbers, float64, in -1.5..-.5 and .5..1.5."""
    numbers = torch.empty(shape, dtype=torch.float64).uniform_(-1, 1, generator=generator)
    return numbers + torch.copysign(_HALF, numbers)


_HALF = torch.tensor(0.5, dtype=torch.float64)


def few_cells(layer: Layer) -> list[Size]:
    """Maps, one a source, as small as the layer shows all that it does: none where it has no limit.

    As many cells as its window spans and two of its steps down, three across: then there are cells
    that see the border on each side and one that does not, and a stride shows.
    """
    spans: list[int] = []
    if len({shape[1:] for shape in layer.inputs}) != 1:
        return []
    for axis in (0, 1):
        windows = [layer.window(axis, k) for k in range(len(layer.sources))]
        if any(math.inf in (w.before, w.after) or w.before < 0 for w in windows):
            return []
        step = math.lcm(*(w.stride for w in windows))
        extent = max(int(w.before + w.after) + 1 for w in windows)
        needed = max(extent + axis * step, (2 + axis) * step)
        spans.append(-(-needed // step) * step)
    return [(spans[0], spans[1])] * len(layer.sources)


def one_cell(layer: Layer) -> list[Size]:
    """The smallest maps, one a source, of which circular padding gives the layer a cell."""
    spans = []
    for axis in (0, 1):
        windows = [layer.window(axis, k) for k in range(len(layer.sources))]
        spans.append(max(1, *(int(w.after - w.before) + 1 for w in windows)))
    return [(spans[0], spans[1])] * len(layer.sources)
