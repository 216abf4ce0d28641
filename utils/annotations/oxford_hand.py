"""The Oxford hand data set: a MATLAB file per image with the corners of turned rectangles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..command.errors import UserError
from ..command.optional import load
from ..command.progress import progress_bar
from ..data.darknet_files import MAX_SMALL_TEXT_BYTES
from .collected import Annotated, Collected, read_limited

_PARTS = {
    "training_dataset/training_data": "train",
    "validation_dataset/validation_data": "train",
    "test_dataset/test_data": "valid",
}


def read_oxford_hand(source: Path, names: Sequence[str] | None) -> Collected:
    """SOURCE holds training_dataset, validation_dataset and test_dataset, as published.

    As others use it, the training and validation parts train and the test part validates. Each
    turned rectangle becomes the upright box around it. Needs scipy.
    """
    load("scipy")
    collected = Collected(names=list(names) if names else ["hand"])
    parts = [(source / part, split) for part, split in _PARTS.items() if (source / part).is_dir()]
    if not parts:
        raise UserError(f"{source}: holds none of {', '.join(_PARTS)}")
    for folder, split in parts:
        files = sorted((folder / "annotations").glob("*.mat"))
        for path in progress_bar(files, f"reading {folder.name}", "img"):
            image = folder / "images" / f"{path.stem}.jpg"
            hw = collected.size_of(image)
            if hw is not None:
                rows = list(_boxes(collected, path))
                boxes = collected.boxes(rows, hw, path)
                collected.splits[split].append(Annotated(image, hw, boxes))
    return collected


def _boxes(collected: Collected, path: Path) -> Iterator[tuple[int, float, float, float, float]]:
    """Class 0 and the upright box around the corners a, b, c, d, each (y, x)."""
    read_limited(path, "a MATLAB file", MAX_SMALL_TEXT_BYTES)
    try:
        content = load("scipy.io").loadmat(str(path), squeeze_me=False)
        cells = content["boxes"].ravel()
        hands = [[np.ravel(cell[0, 0][corner])[:2] for corner in "abcd"] for cell in cells]
        points = np.array(hands, dtype=float).reshape(-1, 4, 2)
    except Exception:  # scipy's errors at damaged files share no base class of their own
        collected.note("annotations left out: no corners of boxes in it", path)
        return
    for (y1, x1), (y2, x2) in zip(points.min(1).tolist(), points.max(1).tolist(), strict=True):
        yield 0, x1, y1, x2, y2
