"""The fixed blur behind a convolution or pooling with `antialiasing` (dialect: section 3.3)."""

from __future__ import annotations

import torch

from .base import PaddingMode, Shape, Tensor, Window, wrapped

# kind -> (1-d kernel, zero padding per side)
BLURS: dict[int, tuple[tuple[float, ...], int]] = {1: ((0.25, 0.5, 0.25), 1), 2: ((0.5, 0.5), 0)}


def blurred_shape(shape: Shape, kind: int, stride: tuple[int, int]) -> Shape:
    """Shape behind the blur; `stride` is (y, x)."""
    kernel, pad = BLURS[kind]
    height, width = (
        (length + 2 * pad - len(kernel)) // step + 1
        for length, step in zip(shape[1:], stride, strict=True)
    )
    return shape[0], height, width


def blurred_window(window: Window, kind: int, stride: int) -> Window:
    """What a cell behind the blur reads, where one before it reads `window` (of stride 1)."""
    kernel, pad = BLURS[kind]
    return Window(stride, window.before + pad, window.after + len(kernel) - 1 - pad)


def blur(x: Tensor, kind: int, stride: tuple[int, int], padding_mode: PaddingMode) -> Tensor:
    """Depthwise blur of (B, C, H, W) with the given stride (y, x)."""
    taps, pad = BLURS[kind]
    if padding_mode == "circular":
        x, pad = wrapped(x, pad), 0
    line = torch.tensor(taps, dtype=x.dtype, device=x.device)
    kernel = torch.outer(line, line).expand(x.shape[1], 1, -1, -1)
    return torch.nn.functional.conv2d(x, kernel, stride=stride, padding=pad, groups=x.shape[1])
