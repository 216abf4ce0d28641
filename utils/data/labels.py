"""Label files: one row `class xc yc w h` per object, the box normalised to the image.

A sixth column is a score, as detect.py --save-txt writes it: the box counts as any other. Rows that
make no sense are reported and left out. A box whose centre lies in the image is clipped to it,
however far it reaches over the border: Darknet, too, keeps such objects.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..command.errors import UserError
from .darknet_files import exists, read_text
from .problems import Problem

FloatArray = npt.NDArray[np.float32]

IMAGE_FOLDERS = ("images", "JPEGImages")
# Six-decimal label files round 1 up to 1.000001; that is not a wrong label.
ROUNDING = 1.5e-6
# A tenth of a pixel of an image 10,000 pixels wide; large enough to survive clipping in float32.
MIN_SIDE = 1e-5
# Longer sides are no hair over the border: the numbers are pixels, or of another format.
MOST_SIDE = 2.0
SHOWN_CHARACTERS = 60
_COLUMNS = 5
MAX_LABEL_BYTES = 4 << 20  # a hundred thousand boxes in one image


def label_path(image: Path) -> Path:
    """Where the label file of `image` is, or would be.

    The last folder named `images` (or VOC's `JPEGImages`) becomes `labels`, the extension `.txt`.
    Without such a folder, or when the file is not there but one lies beside the image (as
    AlexeyAB's Darknet expects it), it is the text file beside the image.
    """
    beside = image.with_suffix(".txt")
    folders = list(image.parts[:-1])
    for position in range(len(folders) - 1, -1, -1):
        if folders[position] in IMAGE_FOLDERS:
            folders[position] = "labels"
            apart = Path(*folders, beside.name)
            return beside if exists(beside) and not exists(apart) else apart
    return beside


def read_labels(path: Path, nc: int) -> tuple[FloatArray, list[Problem]]:
    """Rows (n, 5) class, xc, yc, w, h normalised to the image, and what was left out.

    No file means no objects. Raises UserError when the file is not text.
    """
    if not exists(path):
        return np.zeros((0, 5), np.float32), []
    rows: list[list[float]] = []
    problems: list[Problem] = []
    text = read_text(path, "a label file", MAX_LABEL_BYTES)
    for number, line in enumerate(text.splitlines(), 1):
        cells = line.split()
        if not cells:
            continue
        row, fault = _parse_row(cells, nc)
        if fault:
            problems.append(Problem(f"{path}:{number}", fault))
        else:
            rows.append(row)
    return clip_to_image(np.array(rows, np.float64).reshape(-1, 5)), problems


def clip_to_image(rows: npt.NDArray[np.float64]) -> FloatArray:
    """Cut boxes (n, 5: class, xc, yc, w, h) at the borders 0 and 1; the others stay exact."""
    half = rows[:, 3:5] / 2
    low, high = rows[:, 1:3] - half, rows[:, 1:3] + half
    over = ((low < 0) | (high > 1)).any(axis=1, keepdims=True)
    if not over.any():
        return rows.astype(np.float32)
    low, high = low.clip(0, 1), high.clip(0, 1)
    clipped = np.concatenate((rows[:, :1], (low + high) / 2, high - low), axis=1)
    return np.where(over, clipped, rows).astype(np.float32)


def numbers_of(cells: list[str]) -> list[float]:
    """As float() reads them, without what only Python takes for digits. Raises ValueError."""
    if any("_" in cell or not cell.isascii() for cell in cells):
        raise ValueError(cells)
    return [float(cell) for cell in cells]


def _parse_row(cells: list[str], nc: int) -> tuple[list[float], str]:
    """The five numbers, and why they cannot be used ('' when they can)."""
    if len(cells) not in (_COLUMNS, _COLUMNS + 1):
        return [], f"{len(cells)} column{'s' if len(cells) != 1 else ''} instead of 5"
    try:
        row = numbers_of(cells)
    except ValueError:
        return [], f"not {len(cells)} numbers: {' '.join(cells)[:SHOWN_CHARACTERS]!r}"
    if not all(map(math.isfinite, row)):
        return row, "a value is not finite"
    if any(not 0 <= score <= 1 for score in row[_COLUMNS:]):
        return row, f"its sixth column is no score between 0 and 1 ({row[_COLUMNS]:g})"
    return row[:_COLUMNS], _fault(row[:_COLUMNS], nc)


def _fault(row: list[float], nc: int) -> str:
    number, xc, yc, w, h = row
    if not number.is_integer() or number < 0:
        return f"class {number:g} is not a class number (0, 1, ...)"
    if number >= nc:
        return f"class {number:g} is out of range (the data set has {nc} classes, from 0)"
    if w < MIN_SIDE or h < MIN_SIDE:
        return f"the box has no size (w {w:g}, h {h:g})"
    if min(xc, yc) < 0 or max(xc, yc) > 1 + ROUNDING:
        return f"the centre lies outside 0..1 ({xc:g} {yc:g} {w:g} {h:g})"
    if max(w, h) > MOST_SIDE:
        return f"a side is more than {MOST_SIDE:g} images long ({xc:g} {yc:g} {w:g} {h:g}): pixels?"
    return ""


def read_labels_or_problem(path: Path, nc: int) -> tuple[FloatArray | None, list[Problem]]:
    """As `read_labels`, but a file that is not text is a problem too; the labels are then None."""
    try:
        return read_labels(path, nc)
    except UserError as error:
        return None, [Problem(f"{path}:1", str(error).removeprefix(f"{path}: "))]
