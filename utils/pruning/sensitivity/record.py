"""What was measured of each group, as plain values, and how much of it a limit lets go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Measure = Literal["map", "loss", "fast"]

# What a drop is, by measure.
DROPS: dict[Measure, str] = {
    "map": "mAP@.5 lost",
    "loss": "growth of the loss, as a share of it",
    "fast": "predicted growth of the loss, as a share of it",
}


@dataclass(frozen=True)
class Scores:
    """What a network is worth on the development images; None: not measured."""

    loss: float | None = None
    map50: float | None = None
    map: float | None = None


@dataclass(frozen=True)
class Point:
    """One group with `gone` of its channels cut, wanted as `share` of them.

    drop: in the record's measure. predicted: change of the loss as gradients foretell it.
    """

    share: float
    gone: int
    drop: float
    scores: Scores
    predicted: float | None = None


@dataclass(frozen=True)
class Curve:
    """A group by its layers, how many channels it has, and its points by rising share."""

    layers: tuple[int, ...]
    channels: int
    points: tuple[Point, ...]

    @property
    def name(self) -> str:
        """Its layers, as `4` or `4 7 10`."""
        return " ".join(map(str, self.layers))

    def most_gone(self, max_drop: float) -> int:
        """How many channels may go at most for a drop of at most `max_drop`.

        Along the straight line to the first point that loses more, from the point before it taken
        to lose what the worst one so far did, rounded down; never more than was measured.
        """
        before, worst = 0, 0.0
        for point in sorted(self.points, key=lambda point: (point.gone, point.drop)):
            if point.drop > max_drop:
                part = (max_drop - worst) / (point.drop - worst)
                # Rounded first: half the way between .01 and .02 is a little less than half.
                return before + math.floor(round((point.gone - before) * part, 9))
            before, worst = point.gone, max(worst, point.drop)
        return before


@dataclass(frozen=True)
class Ranked:
    """By what the least important channels were chosen, and the script whose rule it was."""

    strategy: str
    importance: str
    normalize: str


@dataclass(frozen=True)
class Images:
    """The images that it was measured on: how many, and by which share and seed they are found."""

    count: int
    share: float
    seed: int


@dataclass(frozen=True)
class Sensitivity:
    """All groups of one network, of whose cfg and weights these are the hashes.

    base: the uncut network's scores. recalibrate: images that BN statistics were measured on after
    each cut, 0 for none.
    """

    cfg_sha256: str
    weights_sha256: str
    measure: Measure
    base: Scores
    ranked: Ranked
    images: Images
    img_size: tuple[int, int]
    recalibrate: int
    curves: tuple[Curve, ...]

    @property
    def shares(self) -> tuple[float, ...]:
        """All shares that were asked for."""
        return tuple(sorted({point.share for curve in self.curves for point in curve.points}))

    def allowed(self, max_drop: float) -> tuple[int, int]:
        """Channels that may go within a drop for each group, and all channels of these groups."""
        most = sum(curve.most_gone(max_drop) for curve in self.curves)
        return most, sum(curve.channels for curve in self.curves)


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Rank correlation of two series; ties share their mean rank; nan where one is constant."""
    a, b = _ranks(first), _ranks(second)
    middle = (len(a) - 1) / 2
    above = sum((x - middle) * (y - middle) for x, y in zip(a, b, strict=True))
    below = math.sqrt(sum((x - middle) ** 2 for x in a) * sum((y - middle) ** 2 for y in b))
    return above / below if below else math.nan


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=lambda k: values[k])
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for k in order[start : end + 1]:
            ranks[k] = (start + end) / 2
        start = end + 1
    return ranks
