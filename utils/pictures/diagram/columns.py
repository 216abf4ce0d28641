"""Which layer stands where: columns from left to right, the layers of one map size together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...network.layers import Layer

PITCH = 26  # from one box to the next, px
BOX_HEIGHT = 20
HEADER_HEIGHT = 24
BREAK = 8  # extra space where a layer does not read the one before

_FEWEST_ROWS = 14
_ROWS_PER_ROOT = 2.4  # rows of a column / sqrt(layers): about 3:2 for a large network
_SLACK = 1.2  # a run may be this much longer than a column before it is split


@dataclass(frozen=True)
class Place:
    """Where a layer's box is: its column, and its top in px below the top of the columns."""

    column: int
    top: int

    @property
    def middle(self) -> float:
        """Height of the box's middle."""
        return self.top + BOX_HEIGHT / 2


@dataclass(frozen=True)
class Header:
    """A line above boxes that share one map size (height, width)."""

    column: int
    top: int
    map_hw: tuple[int, int]


def place_layers(layers: Sequence[Layer]) -> tuple[dict[int, Place], list[Header]]:
    """The place of each layer by its index, and the headers between."""
    places: dict[int, Place] = {}
    headers: list[Header] = []
    for column, runs in enumerate(_columns(layers)):
        top = 0
        for run in runs:
            headers.append(Header(column, top, _map_of(run)))
            top += HEADER_HEIGHT
            for layer in run:
                if layer.index - 1 not in layer.sources and layer is not run[0]:
                    top += BREAK
                places[layer.index] = Place(column, top)
                top += PITCH
    return places, headers


def _columns(layers: Sequence[Layer]) -> list[list[list[Layer]]]:
    """Columns of runs; a long run is split evenly, short ones share a column."""
    rows = max(_FEWEST_ROWS, math.ceil(_ROWS_PER_ROOT * math.sqrt(len(layers))))
    columns: list[list[list[Layer]]] = [[]]
    for run in _runs(layers):
        count = math.ceil(len(run) / (_SLACK * rows))
        size = math.ceil(len(run) / count)
        for start in range(0, len(run), size):
            piece = run[start : start + size]
            if columns[-1] and sum(map(len, columns[-1])) + len(piece) > rows:
                columns.append([])
            columns[-1].append(piece)
    return columns


def _runs(layers: Sequence[Layer]) -> Iterator[list[Layer]]:
    """Neighbours of one map size; a detour through 1x1 (squeeze-and-excite) breaks no run."""
    run: list[Layer] = []
    for layer in layers:
        if run and layer.shape[1:] not in ((1, 1), _map_of(run)):
            yield run
            run = []
        run.append(layer)
    yield run


def _map_of(run: Sequence[Layer]) -> tuple[int, int]:
    """The first size in a run that is not 1x1, if there is one."""
    sizes = [layer.shape[1:] for layer in run]
    return next((size for size in sizes if size != (1, 1)), sizes[0])
