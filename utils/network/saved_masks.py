"""The masks that a checkpoint holds beside its weights, for those who mask and those who train."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..command.errors import UserError
from .checkpoints.file import why_no_weights
from .weights import is_checkpoint, load_checkpoint


def masks_in(checkpoint: Mapping[str, Any], source: str | Path) -> dict[str, Tensor] | None:
    """The masks of a checkpoint, None without any. Raises UserError for what are no masks."""
    masks = checkpoint.get("masks")
    if masks is None:
        return None
    if not isinstance(masks, dict) or not all(
        isinstance(key, str)
        and isinstance(mask, Tensor)
        and mask.dtype == torch.bool
        and not why_no_weights(mask)
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
