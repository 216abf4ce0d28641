"""Masks in checkpoints: a `.pt` with the masked weights as `model` and the masks beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..network.checkpoints.file import save_checkpoint
from ..network.saved_masks import masks_in, read_masks
from ..network.weights import State, checkpoint_content, is_checkpoint, load_checkpoint


def save_masked(
    path: Path, cfg_text: str, state: State, masks: Mapping[str, Tensor], seen: int
) -> None:
    """Write a checkpoint with masks, whole or not at all: tensors, numbers and text only."""
    content = {**checkpoint_content(cfg_text, state, seen), "masks": dict(masks)}
    save_checkpoint(path, content)


def earlier_masks(weights: str | Path, masks: str | None) -> dict[str, Tensor]:
    """Masks that further ones are to compose with: of `masks`, else of `weights`, else none."""
    if masks:
        return read_masks(masks)
    if not is_checkpoint(weights):
        return {}
    return masks_in(load_checkpoint(weights), weights) or {}
