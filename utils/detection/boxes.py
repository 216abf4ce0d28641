"""Box geometry: conversions and the IoU family, differentiable and safe for degenerate boxes.

Boxes are (..., 4) tensors in any one unit (pixels, grid cells, shares of the image). `xyxy` means
left, top, right, bottom; `xywh` means centre x, centre y, width, height.
"""

from __future__ import annotations

import math
from typing import get_args

import torch
from torch import Tensor

from .options import IouKind

# Smallest area or squared length that anything is divided by: its square still fits in float32,
# so that neither a quotient nor its gradient can overflow.
_EPS = 1e-12


def xywh_to_xyxy(boxes_xywh: Tensor) -> Tensor:
    """(..., 4) centre and size -> (..., 4) corners."""
    centre, size = boxes_xywh[..., :2], boxes_xywh[..., 2:]
    half = size / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def pairwise_iou(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """IoU of each of A boxes (A, 4) with each of B boxes (B, 4): (A, B), between 0 and 1."""
    return iou(a_xyxy[:, None], b_xyxy[None, :], "iou")


def wh_iou(anchors_wh: Tensor, boxes_wh: Tensor) -> Tensor:
    """IoU of A anchors (A, 2) with T boxes (T, 2) when their centres coincide: (A, T)."""
    anchors, boxes = _wide(anchors_wh)[:, None], _wide(boxes_wh)[None, :]
    intersection = torch.minimum(anchors, boxes).clamp(min=0).prod(-1)
    union = anchors.prod(-1) + boxes.prod(-1) - intersection
    return intersection / union.clamp(min=_EPS)


def iou(a_xyxy: Tensor, b_xyxy: Tensor, kind: IouKind = "iou") -> Tensor:
    """IoU, or one of its relatives, of a with b: (..., 4) and (..., 4), broadcast -> (...).

    iou     intersection / union, 0..1
    giou    IoU - (C - union) / C, C = area of the enclosing box, -1..1
            (Rezatofighi et al., CVPR 2019, arXiv:1902.09630, algorithm 1)
    diou    IoU - d2 / c2, d2 = squared distance of the centres, c2 = squared diagonal of the
            enclosing box, -1..1 (Zheng et al., AAAI 2020, arXiv:1911.08287, eq. 7)
    ciou    DIoU - alpha v, v = 4/pi^2 (atan(w_b/h_b) - atan(w_a/h_a))^2, alpha = v / (1 - IoU + v)
            (same paper, eqs. 8-11; alpha weighs v and carries no gradient)

    Half-precision inputs are computed, and returned, in float32. Finite boxes up to 1e9 wide, those
    without an area included, give finite values and gradients. A box whose right lies left of
    its left has no area. Raises ValueError for an unknown kind.
    """
    if kind not in get_args(IouKind):
        raise ValueError(f"unknown kind of IoU {kind!r}, choose one of {get_args(IouKind)}")
    a, b = _wide(a_xyxy), _wide(b_xyxy)
    size_a, size_b = _size(a), _size(b)
    intersection = _overlap(a, b).prod(-1)
    union = size_a.prod(-1) + size_b.prod(-1) - intersection
    value = intersection / union.clamp(min=_EPS)
    if kind == "iou":
        return value
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    if kind == "giou":
        hull_area = hull.prod(-1)
        return value - (hull_area - union) / hull_area.clamp(min=_EPS)
    centre_shift = (b[..., :2] + b[..., 2:] - a[..., :2] - a[..., 2:]) / 2
    diou = value - centre_shift.square().sum(-1) / hull.square().sum(-1).clamp(min=_EPS)
    if kind == "diou":
        return diou
    return diou - _aspect_penalty(size_a, size_b, value)


def _aspect_penalty(size_a: Tensor, size_b: Tensor, iou_value: Tensor) -> Tensor:
    """CIoU's alpha v (...) of sizes (..., 2)."""
    v = (4 / math.pi**2) * (_angle(size_b) - _angle(size_a)).square()
    with torch.no_grad():
        # Both are zero for boxes of one shape in one place, where the penalty is zero too.
        alpha = v / (1 - iou_value + v).clamp(min=_EPS)
    return alpha * v


def _angle(size: Tensor) -> Tensor:
    """atan(w / h) of sizes (..., 2); the clamp bounds its gradient, 1 / side, for an empty box."""
    width, height = size.clamp(min=1e-6).unbind(-1)
    return torch.atan2(width, height)


def _overlap(a: Tensor, b: Tensor) -> Tensor:
    """Sides (..., 2) of the intersection, 0 where the boxes do not meet."""
    low = torch.maximum(a[..., :2], b[..., :2])
    return (torch.minimum(a[..., 2:], b[..., 2:]) - low).clamp(min=0)


def _size(boxes: Tensor) -> Tensor:
    """(..., 4) corners -> (..., 2) width and height, never negative."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)


def _wide(values: Tensor) -> Tensor:
    """At least float32: squares of pixels overflow float16 and drown in bfloat16."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()
