"""Boxes and labels drawn into pictures, legible on any background."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from ..data.detections import Detections

Picture = npt.NDArray[np.uint8]  # (height, width, 3), RGB

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_DASH_PX = 5
_DASH_INKS = ((255, 255, 255), (30, 30, 30))
_GOLDEN_ANGLE = 0.618034  # neighbouring classes get hues far apart


def class_colour(label: int) -> tuple[int, int, int]:
    """RGB of a class: always the same, bright, and unlike its neighbours'."""
    red, green, blue = colorsys.hsv_to_rgb(label * _GOLDEN_ANGLE % 1, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_detections(
    picture: Picture, found: Detections, names: Sequence[str], with_scores: bool = True
) -> Picture:
    """A copy with boxes; `found` is in pixels of the picture, `names` has one per class.

    The best box is drawn last, on top. Labels are dark or light text on the class's colour.
    """
    drawn: Picture = picture.copy()
    unit = max(drawn.shape[:2]) / 640
    each = list(found)
    ordered = [each[place] for place in np.argsort(found.scores, kind="stable")]
    for (x1, y1, x2, y2), _, label in ordered:
        corners = (round(x1), round(y1)), (round(x2), round(y2))
        thickness = max(1, round(2 * unit))
        cv2.rectangle(drawn, *corners, class_colour(label), thickness, cv2.LINE_AA)
    for (x1, y1, *_), score, label in ordered:  # after all boxes: no line runs through a label
        colour = class_colour(label)
        name = names[label] if label < len(names) else str(label)
        text = f"{name} {score:.2f}" if with_scores else name
        _draw_label(drawn, text, (round(x1), round(y1)), colour, max(0.4, 0.6 * unit))
    return drawn


def draw_dashed(picture: Picture, boxes: Detections) -> Picture:
    """A copy with boxes as thin lines, white and dark in turns, to be seen on any background."""
    drawn: Picture = picture.copy()
    for (x1, y1, x2, y2), _, _ in boxes:
        for start, end in pairwise([(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)]):
            for number, (a, b) in enumerate(pairwise(_steps(start, end))):
                cv2.line(drawn, a, b, _DASH_INKS[number % 2], 1)
    return drawn


def _steps(start: tuple[float, float], end: tuple[float, float]) -> list[tuple[int, int]]:
    """Points on a line, some pixels apart, its ends among them."""
    length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
    shares = np.linspace(0, 1, max(2, round(length / _DASH_PX) + 1))
    (ax, ay), (bx, by) = start, end
    return [(round(ax + (bx - ax) * s), round(ay + (by - ay) * s)) for s in shares.tolist()]


def _draw_label(
    picture: Picture, text: str, corner: tuple[int, int], colour: Sequence[int], scale: float
) -> None:
    """Above the corner, or below it where the picture ends."""
    (width, height), base = cv2.getTextSize(text, _FONT, scale, 1)
    left = max(0, min(corner[0], picture.shape[1] - width))
    top = corner[1] - height - base if corner[1] >= height + base else corner[1]
    top = max(0, min(top, picture.shape[0] - height - base))
    cv2.rectangle(picture, (left, top), (left + width, top + height + base), colour, cv2.FILLED)
    luminance = float(np.dot(colour, (0.299, 0.587, 0.114)))
    ink = (0, 0, 0) if luminance > 110 else (255, 255, 255)
    cv2.putText(picture, text, (left, top + height), _FONT, scale, ink, 1, cv2.LINE_AA)
