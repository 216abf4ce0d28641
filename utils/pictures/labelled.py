"""Pictures with the boxes of their labels, on one sheet: what a data set says, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ..data.detections import Detections
from ..data.images import read_image
from .detections import Picture, draw_detections

CELL_PX = 400
_GAP_PX = 8
_PAPER = 255
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAPTION_SCALE = 0.5


def labels_as_detections(rows: npt.NDArray[np.float64], hw: tuple[int, int]) -> Detections:
    """Rows (n, 5) class, xc, yc, w, h (0..1) as boxes of score 1 in pixels of a picture (h, w)."""
    size = np.array([hw[1], hw[0]], np.float64)
    centre, half = rows[:, 1:3] * size, rows[:, 3:5] * size / 2
    boxes = np.concatenate([centre - half, centre + half], 1)
    return Detections(boxes, np.ones(len(rows)), rows[:, 0].astype(np.int64))


def labelled_picture(
    image: Path, rows: npt.NDArray[np.float64], names: Sequence[str], side_px: int = CELL_PX
) -> Picture:
    """An image with its labels (n, 5), its longer side `side_px`. Raises UnreadableImageError."""
    picture = np.asarray(read_image(image), np.uint8)
    return drawn_cell(picture, labels_as_detections(rows, picture.shape[:2]), names, False, side_px)


def drawn_cell(
    picture: Picture,
    found: Detections,
    names: Sequence[str],
    with_scores: bool = True,
    side_px: int = CELL_PX,
) -> Picture:
    """A picture with boxes, which are in its pixels, brought to a longer side of `side_px`."""
    factor = side_px / max(picture.shape[:2])
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    small = np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=how), np.uint8)
    return draw_detections(small, found.scaled(factor), names, with_scores)


def as_rgb(image: npt.NDArray[np.uint8]) -> Picture:
    """An image (h, w, C) of any bands as one can look at it: grey, or its first three bands."""
    shown = image[..., :3] if image.shape[2] >= 3 else image[..., :1]
    return np.ascontiguousarray(np.broadcast_to(shown, (*image.shape[:2], 3)))


def captioned(picture: Picture, text: str) -> Picture:
    """The picture below a white strip with black text, as wide as both need."""
    (width, height), base = cv2.getTextSize(text, _FONT, _CAPTION_SCALE, 1)
    strip = np.full((height + base + 8, max(picture.shape[1], width + 4), 3), _PAPER, np.uint8)
    place = (2, height + 4)
    cv2.putText(strip, text, place, _FONT, _CAPTION_SCALE, (0, 0, 0), 1, cv2.LINE_AA)
    below = np.full((picture.shape[0], strip.shape[1], 3), _PAPER, np.uint8)
    below[:, : picture.shape[1]] = picture
    return np.concatenate([strip, below])


def sheet(pictures: Sequence[Picture], columns: int) -> Picture:
    """Pictures row by row, with white gaps; each row is as high as its highest picture."""
    width = max(picture.shape[1] for picture in pictures)
    rows = [pictures[k : k + columns] for k in range(0, len(pictures), columns)]
    heights = [max(picture.shape[0] for picture in row) for row in rows]
    across = min(columns, len(pictures))
    shape = (sum(heights) + _GAP_PX * (len(rows) + 1), (width + _GAP_PX) * across + _GAP_PX, 3)
    canvas = np.full(shape, _PAPER, np.uint8)
    top = _GAP_PX
    for row, height in zip(rows, heights, strict=True):
        for place, picture in enumerate(row):
            left = _GAP_PX + place * (width + _GAP_PX)
            canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        top += height + _GAP_PX
    return canvas


def encoded(picture: Picture, suffix: str) -> bytes:
    """The bytes of a picture's file; `suffix` (.png, .jpg) says of which kind."""
    done, content = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done, suffix
    return content.tobytes()
