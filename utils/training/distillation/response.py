"""What a teacher answers, as soft labels for a student: `--distill response`.

The trainer's own loss, with the teacher's boxes, objectness and classes in place of the labels',
each cell as sure as the teacher is that something is there (after Mehta and Ozturk, "Object
detection at 200 Frames Per Second", 2018, arXiv:1805.06361, eqs. 3-6). With o the teacher's
objectness in a cell of an anchor, in sums over all cells of all heads:

    box:        o * (1 - CIoU of the two boxes)
    objectness: KL of the two binary distributions
    classes:    o * KL of the binary distributions of each class

weighed as the labels' parts by default and divided by the sum of o, the teacher's count of objects.
YOLOv8's heads have no objectness: o is the highest class probability, the classes are compared
everywhere, and KL of the distributions of the four sides takes the boxes' place. KL is that from
the teacher's distribution to the student's: 0 where both answer alike, as CIoU's part is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...detection.boxes import iou, xywh_to_xyxy
from ...network.layers import Dfl, Yolo
from ..losses.assign import Matches, reach_of
from ..losses.box_loss import decode_px, grid_of
from ..losses.options import DFL_GAINS, GAINS
from ..losses.yolo_loss import cross_entropy


class Pair(NamedTuple):
    """A head of the student and its raw value; the teacher's that answers to it, and its value."""

    head: Any  # heads of a kind know what its losses ask of them
    raw: Tensor
    by: Any
    taught: Tensor


# Boxes of which the teacher is less sure teach nothing.
_WORTH_TEACHING = 0.01


def response_loss(pairs: Sequence[Pair], img_hw: tuple[int, int], factor: float = 1.0) -> Tensor:
    """The scalar; raw values (B, C, H, W) float32, of inputs of (height, width) `img_hw`.

    The heads are of the kinds in RESPONSES. The teacher's input is `factor` times as large.
    """
    sums = [RESPONSES[pair.head.loss_kind](pair, img_hw, factor) for pair in pairs]
    loss, objects = (torch.stack(parts).sum() for parts in zip(*sums, strict=True))
    return loss / objects.clamp(min=1)


def _yolo(pair: Pair, img_hw: tuple[int, int], factor: float) -> tuple[Tensor, Tensor]:
    """Weighted sum over a head's cells, and the teacher's count of objects."""
    head: Yolo = pair.head
    by: Yolo = pair.by  # its anchors and scale_x_y may be a little other
    mine, answers = (
        head.split(pair.raw),
        by.split(by.activate(pair.taught)),
    )  # (B, n, entries, H, W)
    sure = answers[:, :, head.objectness_entry]
    objectness = binary(head, mine[:, :, head.objectness_entry], sure).sum()
    image, anchor, row, column = (sure > _WORTH_TEACHING).nonzero(as_tuple=True)
    cells = Matches(image, anchor, row, column, target=image)
    own, theirs, aims = (
        x[image, anchor, :, row, column] for x in (mine, by.split(pair.taught), answers)
    )
    grids = [grid_of(h, pair.raw, reach_of(h.scale_x_y)) for h in (head, by)]
    grids[1] = replace(grids[1], anchors_px=grids[1].anchors_px / factor)
    boxes = [
        xywh_to_xyxy(decode_px(h, grid, rows[:, h.box_entries], cells, img_hw))
        for h, grid, rows in zip((head, by), grids, (own, theirs), strict=True)
    ]
    weight = sure[image, anchor, row, column]
    box = (weight * (1 - iou(boxes[0], boxes[1], "ciou"))).sum()
    first = head.entries - head.nc
    classes = (weight[:, None] * binary(head, own[:, first:], aims[:, first:])).sum()
    parts = GAINS["box"] * box + GAINS["objectness"] * objectness + GAINS["classes"] * classes
    return parts, sure.sum()


def _dfl(pair: Pair, _hw: tuple[int, int], _factor: float) -> tuple[Tensor, Tensor]:
    """The same for a head of YOLOv8, which needs no size: its sides are in cells."""
    head: Dfl = pair.head
    raw, taught = pair.raw, pair.taught
    bins = 4 * head.reg_max
    aims = taught[:, bins:].sigmoid()
    classes = _kl(F.binary_cross_entropy_with_logits(raw[:, bins:], aims, reduction="none"), aims)
    sure = aims.amax(1)
    if head.reg_max == 1:
        sides = (raw[:, :bins] - taught[:, :bins]).abs().mean(1)  # (B, H, W)
    else:
        shape = (len(raw), 4, head.reg_max, *raw.shape[2:])
        mine, theirs = (x[:, :bins].reshape(shape).log_softmax(2) for x in (raw, taught))
        sides = (theirs.exp() * (theirs - mine)).sum(2).mean(1)
    parts = DFL_GAINS["classes"] * classes.sum() + DFL_GAINS["dfl"] * (sure * sides).sum()
    return parts, sure.sum()


def binary(head: Yolo, raw: Tensor, aims: Tensor) -> Tensor:
    """KL of binary distributions: of the probabilities `aims` from what is raw, elementwise."""
    return _kl(cross_entropy(head, raw, aims), aims)


def _kl(crossed: Tensor, aims: Tensor) -> Tensor:
    """Cross-entropies less the entropies of the binary aims."""
    return crossed + torch.xlogy(aims, aims) + torch.xlogy(1 - aims, 1 - aims)


# A head's `loss_kind` -> what is compared, as (weighted sum, the teacher's count of objects).
RESPONSES: dict[str, Callable[[Pair, tuple[int, int], float], tuple[Tensor, Tensor]]] = {
    "yolo": _yolo,
    "dfl": _dfl,
}
