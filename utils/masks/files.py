"""Masks in checkpoints: a `.pt` with the masked weights as `model` and the masks beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..command.errors import UserError
from ..command.files import atomic_write
from ..network.weights import State, is_checkpoint, load_checkpoint

FORMAT = 1


def save_masked(
    path: Path, cfg_text: str, state: State, masks: Mapping[str, Tensor], seen: int
) -> None:
    """Write a checkpoint with masks, whole or not at all: tensors, numbers and text only."""
    content = {
        "format": FORMAT,
        "cfg": cfg_text,
        "model": state,
        "seen": seen,
        "masks": dict(masks),
    }
    with atomic_write(path) as temporary:
        torch.save(content, temporary)


def masks_in(checkpoint: Mapping[str, Any], source: str | Path) -> dict[str, Tensor] | None:
    """The masks of a checkpoint, None without any. Raises UserError for what are no masks."""
    masks = checkpoint.get("masks")
    if masks is None:
        return None
    if not isinstance(masks, dict) or not all(
        isinstance(key, str) and isinstance(mask, Tensor) and mask.dtype == torch.bool
        for key, mask in masks.items()
    ):
        raise UserError(f"{source}: its 'masks' are none: tensors of bool by name are wanted")
    return masks


def read_masks(path: str | Path) -> dict[str, Tensor]:
    """The masks of a file that mask_prune.py or train.py --masks wrote. Raises UserError."""
    masks = masks_in(load_checkpoint(path), path) if is_checkpoint(path) else None
    if masks is None:
        raise UserError(f"{path}: holds no masks; mask_prune.py writes a .pt that does")
    return masks


def earlier_masks(weights: str | Path, masks: str | None) -> dict[str, Tensor]:
    """Masks that further ones are to compose with: of `masks`, else of `weights`, else none."""
    if masks:
        return read_masks(masks)
    if not is_checkpoint(weights):
        return {}
    return masks_in(load_checkpoint(weights), weights) or {}
