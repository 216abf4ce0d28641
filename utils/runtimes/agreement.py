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
_LEAST_CONF = 1e-3  # a threshold below it would compare noise
_NEAR_CONF = 0.02  # a score so near the threshold may fall on either side of it
_GROUPS = (slice(0, 4), slice(4, 5), slice(5, None))  # boxes in pixels, objectness, classes


def compare_outputs(found: Tensor, expected: Tensor, kind: NmsKind) -> Agreement:
    """Compare predictions (B, N, 5 + nc) with those of the reference.

    Detections count from a score of .25 on; where the reference has none so sure, from half of its
    best score on, unless that is next to nothing.
    """
    conf = _threshold(expected)
    # None is cut off: of scores that are equal, either side would keep others.
    kept = [
        nms(p, conf, IOU_THRES, max_det=p.shape[1], multi_label=False, kind=kind)
        for p in (found, expected)
    ]
    unmatched = sum(
        _without_partner(a, b, conf) + _without_partner(b, a, conf)
        for a, b in zip(*kept, strict=True)
    )
    total = sum(len(rows) for rows in kept[1])
    return Agreement(largest_difference(found, expected), total, unmatched, conf)


def _threshold(expected: Tensor) -> float:
    scores = expected[..., 4] * expected[..., 5:].amax(-1)
    best = float(scores.max()) if scores.numel() else 0.0
    return CONF_THRES if best >= CONF_THRES or best / 2 < _LEAST_CONF else best / 2


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


def _without_partner(found: Detections, others: Detections, conf: float) -> int:
    """How many match none of the others, leaving out those whose score is at the threshold."""
    boxes, other_boxes = (torch.from_numpy(d.boxes_xyxy_px).float() for d in (found, others))
    scores, other_scores = (torch.from_numpy(d.scores).float() for d in (found, others))
    classes, other_classes = (torch.from_numpy(d.classes) for d in (found, others))
    sure = scores > conf + min(_NEAR_CONF, conf / 10)
    partner = pairwise_iou(boxes[sure], other_boxes) > _SAME_IOU
    partner &= classes[sure, None] == other_classes
    partner &= (scores[sure, None] - other_scores).abs() < _NEAR_CONF
    return int((~partner.any(1)).sum())
