"""How far a runtime's results are from PyTorch's, as plain numbers: nothing here needs a tensor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Agreement:
    """Two runs of one model on the same images.

    difference: the largest, as a share of the largest value of its kind (boxes, objectness, class
    probabilities). detections: how many the reference has, of a score from `conf` on; unmatched:
    those of either side that have no partner on the other: a box of the same class with an IoU
    above .97 and a score within .02.
    """

    difference: float
    detections: int
    unmatched: int
    conf: float = 0.25

    def __str__(self) -> str:
        """One line."""
        said = f"largest difference {self.difference:.1e}"
        if not self.detections and not self.unmatched:
            return f"{said}; the network finds nothing in them, so no detections were compared"
        found = f"{self.detections} detections of a score from {self.conf:.2g} on"
        matched = "all found"
        if self.unmatched:
            matched = f"{self.unmatched} without a partner (same class, IoU .97, score within .02)"
        return f"{said}, {found}, {matched}"
