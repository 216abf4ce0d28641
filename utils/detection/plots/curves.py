"""Precision, recall and F1 over the confidence, and precision over recall, at IoU .5."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...data.detections import Floats, Ints
from ..metrics import RECALL_POINTS, Bools, Matched, best_confidence

_POINTS = 1001


@dataclass(frozen=True)
class Curves:
    """Rows are those of the k classes that have targets.

    confidence goes from 0 to the highest score. precision is nan where nothing is detected.
    """

    classes: Ints  # (k,) which class a row is of
    confidence: Floats  # (1001,)
    precision: Floats  # (k, 1001), over the confidence
    recall: Floats
    f1: Floats
    envelope: Floats  # (k, 101) the precision that is kept at each of RECALL_POINTS
    best_conf: float  # where the mean F1 is highest; nan where nothing is found


def score_curves(found: Matched) -> Curves:
    """The curves of matched detections."""
    classes = np.flatnonzero(found.targets)
    confidence = np.linspace(0.0, found.score.max(initial=0.0) or 1.0, _POINTS)
    rows = [
        _of_class(found.hits[low:high, 0], found.score[low:high], int(count), confidence)
        for (low, high), count in zip(pairwise(found.spans), found.targets, strict=True)
        if count
    ]
    precision, recall, f1, envelope = (np.array([row[k] for row in rows]) for k in range(4))
    return Curves(classes, confidence, precision, recall, f1, envelope, best_confidence(found))


def _of_class(
    hits: Bools, score: Floats, targets: int, confidence: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Precision, recall, F1 over the confidence, and the envelope; `score` falls."""
    true = np.concatenate(([0.0], np.cumsum(hits)))  # of the first 0, 1, ... detections
    kept = np.searchsorted(-score, -confidence, side="right")
    precision = np.where(kept > 0, true[kept] / np.maximum(kept, 1), np.nan)
    of_each = true[1:] / np.arange(1, len(true))
    highest = np.maximum.accumulate(of_each[::-1])[::-1]
    reached = np.searchsorted(true[1:] / targets, RECALL_POINTS, side="left")
    envelope = np.concatenate((highest, [0.0]))[reached]
    return precision, true[kept] / targets, 2 * true[kept] / (kept + targets), envelope
