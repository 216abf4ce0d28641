"""What non-maximum suppression kept, held against its rule instead of against another's choice.

Two programs may keep different boxes of equal score, and both be right.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...detection.boxes import pairwise_iou, xywh_to_xyxy

_ROUNDING = 1e-4  # of an IoU, and of a score as a share of itself


def contradictions(
    kept: Tensor, predictions: Tensor, conf_thres: float, iou_thres: float, max_per_class: int
) -> int:
    """How many boxes of one image contradict the suppression that was asked for.

    `kept` (n, 6): xywh, score, class. `predictions` (N, 5 + nc): what was suppressed. Class by
    class, each kept box must be one of the network's; no two of them may overlap; and a box that
    is missing must overlap a kept one that is no worse, unless the class is full of those.
    """
    scores = predictions[:, 4:5] * predictions[:, 5:]
    wrong = 0
    for label in range(scores.shape[1]):
        own = kept[kept[:, 5] == label]
        sure = scores[:, label] > conf_thres * (1 + _ROUNDING)
        wrong += _of_a_class(
            own[:, :5],
            torch.cat((predictions[:, :4], scores[:, label : label + 1]), 1),
            sure,
            iou_thres,
            max_per_class,
        )
        wrong += int((own[:, 4] < conf_thres * (1 - _ROUNDING)).sum())
    return wrong + int((kept[:, 5] >= scores.shape[1]).sum())


def _of_a_class(kept: Tensor, rows: Tensor, sure: Tensor, iou_thres: float, most: int) -> int:
    """`contradictions` among kept (n, 5) and all rows (N, 5), xywh and score, some `sure` (N,)."""
    near = rows[(rows[:, 4] >= kept[:, 4].amin() * (1 - _ROUNDING))] if len(kept) else rows[:0]
    same = torch.isclose(kept[:, None], near[None], rtol=_ROUNDING, atol=1e-6).all(2)
    invented = int((~same.any(1)).sum())
    corners = xywh_to_xyxy(kept[:, :4])
    among = pairwise_iou(corners, corners).triu(1) > iou_thres + _ROUNDING
    wanted = rows[sure]
    overlap = pairwise_iou(xywh_to_xyxy(wanted[:, :4]), corners) > iou_thres - _ROUNDING
    no_worse = kept[None, :, 4] >= wanted[:, 4:5] * (1 - _ROUNDING)
    here = torch.isclose(wanted[:, None], kept[None], rtol=_ROUNDING, atol=1e-6).all(2).any(1)
    missing = ~here & ~(overlap & no_worse).any(1)
    if len(kept) >= most:
        missing &= wanted[:, 4] > kept[:, 4].amin() * (1 + _ROUNDING)
    return invented + int(among.any(1).sum()) + int(missing.sum())
