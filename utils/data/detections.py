"""The labelled boxes of one picture: the form that NMS, scoring, drawing and files share.

It stands this low in the house since drawing (`pictures/`) lies below detection, and since what a
label file says has the same form: boxes of classes, whose scores are 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Detections:
    """n labelled boxes; those of NMS come best first."""

    boxes_xyxy_px: Floats  # (n, 4) left, top, right, bottom in pixels of some picture
    scores: Floats  # (n,)
    classes: Ints  # (n,) from 0

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[tuple[list[float], float, int]]:
        """Box (4 numbers), score and class of each, as plain numbers."""
        columns = self.boxes_xyxy_px.tolist(), self.scores.tolist(), self.classes.tolist()
        return zip(*columns, strict=True)

    def moved(self, way: Callable[[Floats], Floats]) -> Detections:
        """The same boxes elsewhere: `way` maps (n, 4) pixels, as `Geometry.to_image` does."""
        return replace(self, boxes_xyxy_px=way(self.boxes_xyxy_px))

    def scaled(self, factor: float) -> Detections:
        """The same boxes in a picture that is `factor` times as large."""
        return self.moved(lambda boxes: boxes * factor)
