"""How far a runtime's results are from PyTorch's, as plain numbers: nothing here needs a tensor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Agreement:
    """Two runs of one model on the same images.

    difference: the largest, as a share of the largest value of its kind (boxes, objectness, class
    probabilities). detections: how many the reference has; unmatched: those of either side that
    have no partner of the same class, place and nearly the same score on the other.
    """

    difference: float
    detections: int
    unmatched: int

    def __str__(self) -> str:
        matched = "all found" if not self.unmatched else f"{self.unmatched} without a partner"
        return f"largest difference {self.difference:.1e}, {self.detections} detections, {matched}"
