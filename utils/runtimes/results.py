"""How far a runtime's results are from PyTorch's, as plain numbers: nothing here needs a tensor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Agreement:
    """Two runs of one model on the same images.

    difference: the largest, as a share of the largest value of its kind (boxes, objectness, class
    probabilities). boxes: how many the reference gives, before NMS, of a score from `conf` on;
    moved: those that matter to either side and are another box, or another score, on the other:
    an IoU of .97 or less, or scores further apart than `score_tolerance`.
    """

    difference: float
    boxes: int
    moved: int
    conf: float = 0.25

    @staticmethod
    def score_tolerance(conf: float) -> float:
        """Scores nearer than this are one: .02 at the usual threshold, and less below it."""
        return 0.08 * min(conf, 0.25)

    def __str__(self) -> str:
        """One line."""
        said = f"largest difference {self.difference:.1e}"
        if not self.boxes and not self.moved:
            return f"{said}; the network finds nothing in them, so no boxes were compared"
        same = "all of them the same"
        if self.moved:
            tolerance = self.score_tolerance(self.conf)
            same = f"{self.moved} moved (IoU below .97, or score by {tolerance:.2g} or more)"
        return f"{said}; {self.boxes} boxes of a score from {self.conf:.2g} on, {same}"
