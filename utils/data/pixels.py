"""Pixels as bytes, and as the numbers that a network takes: the one place that divides by 255."""

from __future__ import annotations

import torch
from torch import Tensor

from .images import ByteArray


def unit_range(
    pixels: Tensor,
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = torch.preserve_format,
) -> Tensor:
    """uint8 0..255 of any shape -> `dtype` 0..1, where the pixels are.

    Bytes are a quarter of the numbers: move them to the device first.
    """
    return pixels.to(dtype, memory_format=memory_format) / 255


def picture_input(picture: ByteArray, device: torch.device | str = "cpu") -> Tensor:
    """One RGB picture (h, w, 3) -> (1, 3, h, w) float32 in 0..1 on `device`."""
    return unit_range(torch.from_numpy(picture).to(device).permute(2, 0, 1)[None])
