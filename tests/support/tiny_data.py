"""Tiny data sets on disk: pictures of one bright box each, whose label is exact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

Row = tuple[float, ...]


def box_picture(h: int, w: int, x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    """Black with a white box over the pixels x1..x2 - 1, y1..y2 - 1."""
    image = np.zeros((h, w, 3), np.uint8)
    image[y1:y2, x1:x2] = 255
    return image


def noise_picture(h: int, w: int, seed: int) -> np.ndarray:
    """Smooth colours; another picture for another seed."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC), np.uint8)


def centre_of_light(image: np.ndarray, box: np.ndarray, margin: int = 5) -> np.ndarray:
    """Centre (x, y) of the brightness in and closely around a box x1, y1, x2, y2, on black.

    Far more exact than the extent: half a pixel off is seen.
    """
    h, w = image.shape[:2]
    x1, y1 = np.floor(box[:2] - margin).astype(int).clip(0)
    x2, y2 = np.ceil(box[2:] + margin).astype(int).clip(0, (w, h))
    light = image[y1:y2, x1:x2, 0] / image[y1:y2, x1:x2, 0].sum()
    x = light.sum(0) @ (np.arange(x1, x2) + 0.5)
    y = light.sum(1) @ (np.arange(y1, y2) + 0.5)
    return np.array([x, y])


def write_image(path: Path, rgb: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return path


def write_sample(
    folder: Path, name: str, rgb: np.ndarray, rows: Sequence[Row] | str | None
) -> Path:
    """`images/NAME` and, unless `rows` is None, its label file."""
    if rows is not None:
        text = (
            rows if isinstance(rows, str) else "".join(" ".join(map(str, r)) + "\n" for r in rows)
        )
        label = (folder / "labels" / name).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(text)
    return write_image(folder / "images" / name, rgb)


def write_list(folder: Path, names: Sequence[str], file: str = "list.txt") -> Path:
    path = folder / file
    path.write_text("".join(f"images/{name}\n" for name in names))
    return path


def make_set(folder: Path, count: int = 6, sizes: Sequence[tuple[int, int]] = ((48, 64),)) -> Path:
    """A list of `count` smooth pictures; picture i has i % 3 boxes, the first of class i % 2."""
    rng = np.random.default_rng(0)
    names = []
    for number in range(count):
        h, w = sizes[number % len(sizes)]
        boxes = [
            (number % 2 if i == 0 else 0, *rng.uniform(0.3, 0.7, 2), *rng.uniform(0.2, 0.5, 2))
            for i in range(number % 3)
        ]
        names.append(f"{number}.png")
        write_sample(folder, names[-1], noise_picture(h, w, number), boxes)
    return write_list(folder, names)
