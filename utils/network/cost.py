"""What a network costs, from its layers alone: numbers, multiplications, bytes."""

from __future__ import annotations

from collections.abc import Sequence

from .layers import Layer

HEADER_BYTES = 20
FLOAT_BYTES = 4


def count_parameters(layers: Sequence[Layer]) -> int:
    """Trainable numbers: all of the file's but the running means and variances."""
    statistics = ("running_mean", "running_var")
    fields = [field for layer in layers for field in layer.fields()]
    return sum(field.size for field in fields if not field.name.endswith(statistics))


def file_bytes(layers: Sequence[Layer]) -> int:
    """Size of the `.weights` file."""
    numbers = sum(field.size for layer in layers for field in layer.fields())
    return HEADER_BYTES + FLOAT_BYTES * numbers


def count_macs(layers: Sequence[Layer]) -> int:
    """Multiply-accumulate operations of one forward pass of one image."""
    return sum(layer.macs() for layer in layers)


def count_bflops(layers: Sequence[Layer]) -> float:
    """2 x MACs / 1e9, as Darknet prints for a convolution.

    Darknet's total also counts pooling and sums, so it lies a little higher.
    """
    return 2 * count_macs(layers) / 1e9


def short_count(count: float) -> str:
    """A large number in three digits: `1.71 M`, `70.5 M`, `273 G`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            value = count / size
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"
    return f"{count:.0f}"
