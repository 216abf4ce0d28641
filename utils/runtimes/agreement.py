"""Whether a runtime computes what PyTorch does: numbers, and the boxes that matter among them.

Boxes are compared one by one, as the network gives them: of boxes that overlap, with scores a
millionth apart, suppression keeps either, so that a right file may lead to other detections.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..detection.boxes import iou, xywh_to_xyxy
from .results import Agreement

CONF_THRES = 0.25
_SAME_IOU = 0.97
_LEAST_CONF = 1e-3  # a threshold below it would compare noise
_GROUPS = (slice(0, 4), slice(4, 5), slice(5, None))  # boxes in pixels, objectness, classes


def compare_outputs(found: Tensor, expected: Tensor) -> Agreement:
    """Compare predictions (B, N, 5 + nc) with those of the reference.

    Boxes count from a score of .25 on; where the reference has none so sure, from half of its best
    score on, unless that is next to nothing.
    """
    conf = _threshold(expected)
    difference = largest_difference(found, expected)
    count = int((_scores(expected) > conf).any(-1).sum())
    if found.shape != expected.shape:
        return Agreement(difference, count, count, conf)
    ours, theirs = expected.flatten(0, 1), found.flatten(0, 1)
    apart = _apart(theirs, ours, conf) | _apart(ours, theirs, conf)
    return Agreement(difference, count, int(apart.sum()), conf)


def finds_something(predictions: Tensor) -> bool:
    """Whether boxes (B, N, 5 + nc) have a score that usually counts."""
    return bool((_scores(predictions) >= CONF_THRES).any())


def _apart(found: Tensor, expected: Tensor, conf: float) -> Tensor:
    """(N,) bools: rows (N, 5 + nc) that matter in `expected` and are something else in `found`.

    A box without an area, as plain sides can give, is dropped before any detection.
    """
    score, label = _scores(expected).max(-1, keepdim=True)
    overlap = _iou_by_row(found[:, :4], expected[:, :4])
    near = (_scores(found).gather(1, label) - score).abs() < Agreement.score_tolerance(conf)
    has_area = (expected[:, 2:4] > 0).all(1)
    return (score > conf)[:, 0] & has_area & ~(near[:, 0] & (overlap > _SAME_IOU))


def _iou_by_row(a_xywh: Tensor, b_xywh: Tensor) -> Tensor:
    """(N,): of each box with the one in its place; 0 for what is no number."""
    a, b = xywh_to_xyxy(a_xywh), xywh_to_xyxy(b_xywh)
    return iou(a, b, "iou").nan_to_num(0.0)


def _threshold(expected: Tensor) -> float:
    scores = _scores(expected)
    best = float(scores.max()) if scores.numel() else 0.0
    return CONF_THRES if best >= CONF_THRES or best / 2 < _LEAST_CONF else best / 2


def _scores(predictions: Tensor) -> Tensor:
    """(..., nc): objectness times class probabilities."""
    return predictions[..., 4:5] * predictions[..., 5:]


def largest_difference(found: Tensor, expected: Tensor) -> float:
    """Of predictions (B, N, 5 + nc); infinite where the shapes differ or a value is not finite."""
    if found.shape != expected.shape or not bool(found.isfinite().all()):
        return float("inf")
    tiny = torch.finfo(torch.float32).tiny
    shares = [
        (found[..., group] - expected[..., group]).abs().max()
        / expected[..., group].abs().max().clamp(min=tiny)
        for group in _GROUPS
    ]
    return float(max(shares))
