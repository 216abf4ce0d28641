"""What a detector is worth and how long it took, as plain numbers: nothing here needs a tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..command.table import table


@dataclass(frozen=True)
class Seconds:
    """Where the time of an evaluation went, for the whole data set."""

    data: float  # waiting for images
    forward: float
    nms: float  # and the way back to the original images
    metrics: float


@dataclass(frozen=True)
class ClassRow:
    """Results of one class; nan where it has no targets."""

    name: str
    images: int  # that hold the class
    targets: int
    precision: float  # at IoU .5 and this class's `confidence`
    recall: float
    f1: float
    confidence: float  # where F1 is best
    map50: float
    map: float  # mean over IoU .5:.05:.95


@dataclass(frozen=True)
class Metrics:
    """Results of a data set; means are over the classes that have targets (nan without any)."""

    map50: float
    map: float
    precision: float
    recall: float
    f1: float
    best_conf: float  # the score at which the mean F1 is highest: a threshold for use
    images: int
    targets: int
    per_class: tuple[ClassRow, ...]
    seconds: Seconds

    def table(self, every_class: bool = True) -> str:
        """A table with the means first; classes without targets are left out."""
        heads = ("class", "images", "targets", "P", "R", "mAP@.5", "mAP@.5:.95")
        means = (
            "all",
            self.images,
            self.targets,
            self.precision,
            self.recall,
            self.map50,
            self.map,
        )
        rows = [heads, _cells(means)]
        shown = [row for row in self.per_class if row.targets] if every_class else []
        rows += [
            _cells((c.name, c.images, c.targets, c.precision, c.recall, c.map50, c.map))
            for c in shown
        ]
        return table(rows, right=range(1, len(heads)))

    @property
    def threshold(self) -> str:
        """The score of the best F1 as a threshold; "" without any."""
        return "" if math.isnan(self.best_conf) else threshold_text(self.best_conf)

    def times(self) -> str:
        """One line: milliseconds per image of each part."""
        spent, images = self.seconds, max(self.images, 1)
        parts = {
            "waiting for images": spent.data,
            "forward": spent.forward,
            "NMS": spent.nms,
            "metrics": spent.metrics,
        }
        shown = ", ".join(f"{name} {1e3 * value / images:.2f}" for name, value in parts.items())
        return f"ms per image: {shown}"


def threshold_text(conf: float) -> str:
    """A score to type as --conf-thres, rounded down, so that what has it is shown."""
    return f"{math.floor(1000 * conf) / 1000:.3f}"


class Milliseconds(NamedTuple):
    """Where the time of one picture went."""

    prepare: float  # fit into the network's input
    forward: float
    nms: float  # and the way back to the picture


def _cells(values: Sequence[object]) -> tuple[str, ...]:
    return tuple(f"{v:.3f}" if isinstance(v, float) else str(v) for v in values)
