"""Receptive fields: the pixels of the input that one cell of a layer can depend on, by exact steps.

The walk goes backwards from a cell: each layer turns the range of cells that is wanted of it into
the range that it reads of its sources (`Layer.window`), and a layer with several readers answers
for the hull of their ranges. Channels are not told apart: a part of a concatenation counts as all
of it. Nothing is cut at the image border, so the field of a cell near it reaches into the padding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .layers import INPUT, Layer, Window

Cells = NDArray[np.float64]

# Behind an upsampling the field differs from cell to cell and repeats; the largest one counts.
_CELLS = 64


def receptive_field_px(layers: Sequence[Layer], index: int) -> tuple[float, float]:
    """(height, width) in pixels, from the first pixel to the last, of one cell of layer `index`.

    Infinite where the cell depends on the whole image whatever its size; 0 without any input.
    """
    return _extent_px(layers, index, 0), _extent_px(layers, index, 1)


def _extent_px(layers: Sequence[Layer], index: int, axis: int) -> float:
    cells = np.arange(_CELLS, dtype=np.float64)
    wanted: dict[int, tuple[Cells, Cells]] = {index: (cells, cells)}
    for layer in reversed(layers[: index + 1]):
        if layer.index not in wanted:
            continue
        first, last = wanted.pop(layer.index)
        for k, source in enumerate(layer.sources):
            window = layer.window(axis, k)
            start = _at(first, window) - window.before
            end = _at(last, window) + window.after
            before = wanted.get(source, (start, end))
            wanted[source] = np.minimum(before[0], start), np.maximum(before[1], end)
    if INPUT not in wanted:
        return 0.0
    first, last = wanted[INPUT]
    return float((last - first).max()) + 1


def _at(cells: Cells, window: Window) -> Cells:
    group: Cells = np.floor(cells / window.copies)
    start: Cells = group * window.stride
    if not window.phase:
        return start  # an infinite one has no remainder
    return start + (cells - group * window.copies) * window.phase
