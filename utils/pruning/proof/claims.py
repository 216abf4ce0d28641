"""What the proof claims of every layer, and values for which it holds.

    value of the masked network = value of the pruned one, at the channels that stay,
                                  + the layer's constants

A channel that goes has the value 0 in the pruned network, so its constant is all there is of it.
Where a route came to name a tensor twice, the second of the two equal parts is the first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...network.layers import INPUT, Layer
from ...network.layers.base import places_of
from ..plan import PrunePlan
from ..surgery import surviving

Size = tuple[int, int]  # rows, columns of a map

ONE_CELL: Size = (1, 1)
_DRAWN_AT_ONCE = 1 << 16


class Claims:
    """Which layer of the pruned network each full one is, and what it keeps."""

    def __init__(self, plan: PrunePlan, compact: Sequence[Layer]) -> None:
        self.plan = plan
        self.layers = compact
        self.places = surviving(plan)
        placed = set(self.places.values())
        self.inserted = [layer for layer in compact if layer.index not in placed]
        self._places_of: dict[int, Tensor | None] = {}
        # Layers inside blocks that go, which hand on what they read: of them nothing is claimed.
        self.open: set[int] = set()
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

    def places_of(self, index: int) -> Tensor | None:
        """Which channels of a full layer stay, as indices; None for all."""
        if index == INPUT:
            return None
        if index not in self._places_of:
            self._places_of[index] = places_of(self.plan.kept(index))
        return self._places_of[index]


class Values:
    """Random values of some layers in both networks, such that the claim holds of each.

    `sizes`: of each map that is drawn, by the pruned network's layers; the first one's otherwise.
    """

    def __init__(self, claims: Claims, sizes: Mapping[int, Size], numbers: Numbers) -> None:
        self._claims = claims
        self._sizes = sizes
        self._numbers = numbers
        self._drawn: dict[int, Tensor] = {}

    def compact(self, index: int) -> Tensor:
        """The pruned network's value of its layer `index` (1, C, H, W)."""
        index = self._claims.origin(index)
        if index not in self._drawn:
            layers = self._claims.layers
            channels = layers[0].inputs[0][0] if index == INPUT else layers[index].shape[0]
            size = self._sizes.get(index) or next(iter(self._sizes.values()), ONE_CELL)
            self._drawn[index] = self._numbers.draw((1, channels, *size))
        return self._drawn[index]

    def full(self, index: int, constants: Tensor | None = None) -> Tensor:
        """The full network's (1, C, H, W) of its layer `index`.

        With the layer's `constants` (C,) that of the masked network; without, that of the folded
        one, in which channels that go are held at 0.
        """
        if index in self._claims.open:
            channels = self._claims.plan.graph.layers[index].shape[0]
            place = self._claims.stands_for(index)
            return self._numbers.draw((1, channels, *self._sizes.get(place, ONE_CELL)))
        places = self._claims.places_of(index)
        value = self.compact(self._claims.stands_for(index))
        if places is not None:
            if not len(places):
                value = value[:, :0]  # inside a block that goes: it hands on its constants alone
            if len(places) != value.shape[1]:
                raise ValueError(f"{value.shape[1]} channels where {len(places)} stay")
            whole = value.new_zeros((1, len(self._claims.plan.kept(index)), *value.shape[2:]))
            value = whole.index_copy_(1, places, value)
            if index in self._claims.plan.merges:
                for first, repeated in self._claims.plan.merges[index].parts:
                    value[:, repeated] = value[:, first]
        if constants is None or not bool(constants.any()):
            return value
        return value + constants.view(1, -1, 1, 1)


class Numbers:
    """Random ones, float64, in -1.5..-.5 and .5..1.5, none handed out twice; always the same.

    None is so small that a weight which it meets would not be seen.
    """

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(0)
        self._left = torch.empty(0, dtype=torch.float64)

    def draw(self, shape: tuple[int, ...]) -> Tensor:
        """The next ones, not to be written to."""
        count = math.prod(shape)
        if len(self._left) < count:
            size = max(count, _DRAWN_AT_ONCE)
            drawn = torch.empty(size, dtype=torch.float64).uniform_(
                -1, 1, generator=self._generator
            )
            self._left = drawn.add_(torch.copysign(drawn.new_tensor(0.5), drawn))
        found, self._left = self._left[:count], self._left[count:]
        return found.view(shape)


class Cells(NamedTuple):
    """A map's size, where in the layer's output no padding is met, and what is read there."""

    size: Size
    inside: tuple[slice, slice]
    read: tuple[slice, slice]


def few_cells(layer: Layer) -> Cells | None:
    """A map for each source, as small as the layer shows all that it does; None for no such map.

    As many cells as its window spans, and at least two of its steps: then some cells see the border
    on each side, one does not, and a stride shows.
    """
    if len({shape[1:] for shape in layer.inputs}) != 1:
        return None
    spans, insides, reads = [], [], []
    for axis in (0, 1):
        windows = [layer.window(axis, k) for k in range(len(layer.sources))]
        if any(math.inf in (w.before, w.after) or w.before < 0 for w in windows):
            return None
        step = math.lcm(*(w.stride for w in windows))
        before, after = (max(int(w[k]) for w in windows) for k in (1, 2))
        # The first output cell that reads no padding is at -(-before // step) steps.
        needed = max(before + after + step, 2 * step)
        span = -(-needed // step) * step
        spans.append(span)
        first = -(-before // step)
        insides.append(slice(first, (span - 1 - after) // step + 1))
        reads.append(slice(first * step - before, span))
    return Cells((spans[0], spans[1]), (insides[0], insides[1]), (reads[0], reads[1]))
