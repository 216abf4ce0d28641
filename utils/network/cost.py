"""What a network costs, from its layers alone: numbers, multiplications, bytes."""

from __future__ import annotations

from collections.abc import Sequence

from .layers import Layer

_HEADER_BYTES = 20
_FLOAT_BYTES = 4


def count_parameters(layers: Sequence[Layer]) -> int:
    """Trainable numbers: all of the file's but the running means and variances."""
    statistics = ("running_mean", "running_var")
    fields = [field for layer in layers for field in layer.fields()]
    return sum(field.size for field in fields if not field.name.endswith(statistics))


def file_bytes(layers: Sequence[Layer]) -> int:
    """Size of the `.weights` file."""
    numbers = sum(field.size for layer in layers for field in layer.fields())
    return _HEADER_BYTES + _FLOAT_BYTES * numbers


def count_macs(layers: Sequence[Layer]) -> int:
    """Multiply-accumulate operations of one forward pass of one image."""
    return sum(layer.macs() for layer in layers)


def count_bflops(layers: Sequence[Layer]) -> float:
    """2 x MACs / 1e9, as Darknet prints for a convolution.

    Darknet's total also counts pooling and sums, so it lies a little higher.
    """
    return 2 * count_macs(layers) / 1e9
