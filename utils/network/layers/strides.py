"""How far apart the cells of a layer lie in the input, and what input sizes follow from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from .base import INPUT, Layer


def stride_px(layers: Sequence[Layer]) -> int:
    """The largest distance of neighbouring cells, in pixels; sides of the input are multiples.

    By the layers' own strides, not by sizes: a side that is no multiple gives cells all the same,
    and 250 pixels in 8 of them are no stride of 31.
    """
    return max(math.ceil(max(cell)) for cell in _cells_px(layers).values())


def _cells_px(layers: Sequence[Layer]) -> dict[int, tuple[Fraction, Fraction]]:
    """Distance of neighbouring cells of each layer, in pixels of the input, by axis."""
    cells = {INPUT: (Fraction(1), Fraction(1))}
    for layer in layers:
        if layer.sources:
            vertical, horizontal = (
                max(_through(layer, axis, k, cells[s][axis]) for k, s in enumerate(layer.sources))
                for axis in (0, 1)
            )
            cells[layer.index] = vertical, horizontal
        else:
            cells[layer.index] = cells[INPUT]
    return cells


def _through(layer: Layer, axis: int, place: int, before: Fraction) -> Fraction:
    window = layer.window(axis, place)
    return before * Fraction(window.stride) / window.copies


def size_hint(layers: Sequence[Layer], height: int, width: int) -> str:
    """What to do about an input size that is no multiple of the stride; "" for one that is."""
    stride = stride_px(layers) if layers else 1
    odd = [side for side in (height, width) if side % stride]
    if not odd:
        return ""
    near = " or ".join(str(side) for side in neighbours(odd[0], stride))
    rule = f"height and width must be multiples of {stride}, the largest stride"
    return f"; {rule}: {near}, not {odd[0]}"


def neighbours(side: int, stride: int) -> list[int]:
    """The multiples of `stride` below and above a side, both at least one stride."""
    lower = side // stride * stride
    return [n for n in (lower, lower + stride) if n]
