"""Whether a runtime computes what PyTorch does: numbers, and the detections that they lead to."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.detections import Detections
from ..detection.boxes import pairwise_iou
from ..detection.nms import nms
from ..detection.options import NmsKind
from .results import Agreement

CONF_THRES, IOU_THRES = 0.25, 0.45
_SAME_IOU = 0.97
_NEAR_CONF = 0.02  # a score so near the threshold may fall on either side of it
_GROUPS = (slice(0, 4), slice(4, 5), slice(5, None))  # boxes in pixels, objectness, classes


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


def _without_partner(found: Detections, others: Detections) -> int:
    """How many match none of the others, leaving out those whose score is at the threshold."""
    boxes, other_boxes = (torch.from_numpy(d.boxes_xyxy_px).float() for d in (found, others))
    scores, other_scores = (torch.from_numpy(d.scores).float() for d in (found, others))
    classes, other_classes = (torch.from_numpy(d.classes) for d in (found, others))
    sure = scores > CONF_THRES + _NEAR_CONF
    partner = pairwise_iou(boxes[sure], other_boxes) > _SAME_IOU
    partner &= classes[sure, None] == other_classes
    partner &= (scores[sure, None] - other_scores).abs() < _NEAR_CONF
    return int((~partner.any(1)).sum())
