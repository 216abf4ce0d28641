"""Whether a runtime computes what PyTorch does: numbers, and the detections that they lead to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..detection.boxes import pairwise_iou
from ..detection.nms import nms
from ..detection.options import NmsKind

CONF_THRES, IOU_THRES = 0.25, 0.45
_SAME_IOU = 0.97
_NEAR_CONF = 0.02  # a score so near the threshold may fall on either side of it
_GROUPS = (slice(0, 4), slice(4, 5), slice(5, None))  # boxes in pixels, objectness, classes


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


def compare_outputs(found: Tensor, expected: Tensor, kind: NmsKind) -> Agreement:
    """Compare predictions (B, N, 5 + nc) with those of the reference."""
    kept = [nms(p, CONF_THRES, IOU_THRES, multi_label=False, kind=kind) for p in (found, expected)]
    unmatched = sum(
        _without_partner(a, b) + _without_partner(b, a) for a, b in zip(*kept, strict=True)
    )
    total = sum(len(rows) for rows in kept[1])
    return Agreement(largest_difference(found, expected), total, unmatched)


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


def _without_partner(rows: Tensor, others: Tensor) -> int:
    """How many rows (n, 6) of NMS match none of the others, leaving out those at the threshold."""
    sure = rows[rows[:, 4] > CONF_THRES + _NEAR_CONF]
    if not len(sure) or not len(others):
        return len(sure)
    partner = (pairwise_iou(sure[:, :4], others[:, :4]) > _SAME_IOU) & (
        sure[:, 5:6] == others[None, :, 5]
    )
    partner &= (sure[:, 4:5] - others[None, :, 4]).abs() < _NEAR_CONF
    return int((~partner.any(1)).sum())


def worst(agreements: Sequence[Agreement]) -> Agreement:
    """Several comparisons as one."""
    return Agreement(
        max(a.difference for a in agreements),
        sum(a.detections for a in agreements),
        sum(a.unmatched for a in agreements),
    )
