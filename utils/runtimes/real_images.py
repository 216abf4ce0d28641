"""Real images as network input, to check and calibrate exported models with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..command.errors import UserError
from ..command.progress import progress_bar
from ..data.darknet_files import DataSpec, load_list
from ..data.images import UnreadableImageError, read_image
from ..data.letterbox import letterbox, picture_input
from ..data.options import Fit

Images = Sequence[NDArray[np.float32]]  # each (1, 3, H, W), RGB in 0..1


def network_inputs(
    paths: Sequence[Path], img_size: tuple[int, int], fit: Fit, channels: int = 3
) -> list[NDArray[np.float32]]:
    """Each image as (1, channels, H, W) in 0..1; those that do not open are left out."""
    found = []
    for path in progress_bar(paths, "reading images", "img"):
        try:
            fitted, _ = letterbox(read_image(path, channels=channels), img_size, fit)
        except UnreadableImageError:
            continue
        found.append(np.ascontiguousarray(picture_input(fitted).numpy()))
    return found


def calibration_inputs(
    spec: DataSpec,
    count: int,
    img_size: tuple[int, int],
    fit: Fit,
    channels: int = 3,
    seed: int = 0,
) -> list[NDArray[np.float32]]:
    """`count` images of the training list, drawn by the seed. Raises UserError without any."""
    entries = [path for _, path in load_list(spec.require("train"))]
    drawn = np.random.default_rng(seed).permutation(len(entries))[:count]
    places = np.sort(drawn)
    found = network_inputs([entries[place] for place in places], img_size, fit, channels)
    if not found:
        raise UserError(f"{spec.train}: no image of it opens, and int8 needs some to calibrate on")
    return found


def as_batch(images: Images) -> Tensor:
    """(B, 3, H, W)."""
    return torch.from_numpy(np.concatenate(images))
