"""The Oxford hand data set: a MATLAB file per image with the corners of turned rectangles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..command.errors import UserError
from ..command.optional import load
from ..command.progress import progress_bar
from ..data.darknet_files import MAX_SMALL_TEXT_BYTES
from .collected import Annotated, Collected, read_limited
from .mat_file import Corners, corners_in

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
        for path in files:
            read_limited(path, "a MATLAB file", MAX_SMALL_TEXT_BYTES)
        bar = progress_bar(files, f"reading {folder.name}", "img")
        for path, corners in zip(bar, corners_in(files), strict=True):
            image = folder / "images" / f"{path.stem}.jpg"
            hw = collected.size_of(image)
            if hw is not None:
                if corners is None:
                    collected.note("annotations left out: no corners of boxes in it", path)
                boxes = collected.boxes(list(_boxes(corners or [])), hw, path)
                collected.splits[split].append(Annotated(image, hw, boxes))
    return collected


def _boxes(hands: Corners) -> Iterator[tuple[int, float, float, float, float]]:
    """Class 0 and the upright box around the corners a, b, c, d, each (y, x)."""
    for corners in hands:
        ys, xs = zip(*corners, strict=True)
        yield 0, min(xs), min(ys), max(xs), max(ys)
