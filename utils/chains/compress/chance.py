"""What chance has to do with a drop of mAP: a bound that holds for other images of the same kind.

Two networks are scored on the same images, so images are drawn together (a paired bootstrap: Efron
and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 8), which gives the standard
deviation s of the drop d on n images. On m other images it will lie around d with the variance
s^2 (1 + n / m), as the mean of those has its own: the one-sided prediction bound of a mean (Hahn
and Meeker, Statistical Intervals, 1991, section 4.8), in the normal's form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...data.detections import Floats, Ints
from ...detection.evaluate import Collected
from ...detection.metrics import RECALL_POINTS, Bools, match_detections, mean_of_valid

DRAWS = 300
SURE = 0.9  # the chance that a bound holds
_Z = 1.2816  # the normal's quantile at it


@dataclass(frozen=True)
class Drop:
    """mAP@.5 lost on the development share, and what other images will hardly exceed."""

    lost: float
    at_most: float

    def __str__(self) -> str:
        """One line."""
        return f"{self.lost:.3f} lost, at most {self.at_most:.3f} with {SURE:.0%}"


def drop_between(base: Collected, small: Collected, nc: int, elsewhere: int, seed: int = 0) -> Drop:
    """What `small` finds less well than `base` in the same images; bound for `elsewhere` others."""
    numbered = (base.detections, base.targets, small.detections, small.targets)
    images = max(base.images, *(int(each.image.max(initial=-1)) + 1 for each in numbered))
    draws = _draws(images, seed)
    maps = [map50_of_draws(found, nc, draws) for found in (base, small)]
    lost = maps[0] - maps[1]
    spread = float(np.nanstd(lost[1:], ddof=1))
    spread *= math.sqrt(1 + base.images / max(1, elsewhere))
    return Drop(float(lost[0]), float(lost[0]) + _Z * spread)


def _draws(images: int, seed: int) -> Ints:
    """(1 + DRAWS, images): how often each image is in a draw; in the first, all are once."""
    drawn = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=DRAWS)
    return np.vstack((np.ones((1, images), np.int64), drawn))


def map50_of_draws(found: Collected, nc: int, draws: Ints) -> Floats:
    """mAP@.5 (B,) of draws (B, images) in which image k is draws[:, k] times.

    As `score_detections` would say of lists that name images so often; nan of a draw without a
    target.
    """
    matched = match_detections(found.detections, found.targets, nc)
    per_class = []
    for label, (low, high) in enumerate(pairwise(matched.spans)):
        targets = draws[:, found.targets.image[found.targets.label == label]].sum(1)
        weights = draws[:, matched.image[low:high]].astype(np.float64)
        per_class.append(_ap_of_draws(matched.hits[low:high, 0], weights, targets))
    table = np.stack(per_class, axis=1)
    return np.array([mean_of_valid(row) for row in table])


def _ap_of_draws(hits: Bools, weights: Floats, targets: Ints) -> Floats:
    """AP (B,) of detections whose scores fall, each as often as its weight (B, n) says."""
    true = np.cumsum(weights * hits, axis=1)
    detected = np.cumsum(weights, axis=1)
    precision = true / (detected + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    found = np.full(len(weights), np.nan)
    for row in np.flatnonzero(targets):
        index = np.searchsorted(true[row] / targets[row], RECALL_POINTS, side="left")
        reached = index[index < weights.shape[1]]
        found[row] = envelope[row, reached].sum() / len(RECALL_POINTS)
    return found
