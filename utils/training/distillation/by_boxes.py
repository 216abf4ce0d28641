"""`--distill response` where the teacher's cells are not the student's: its detections are labels.

A teacher of another architecture, or that sees the images at another size, may have other grids,
strides, anchors, or none: no number of its heads then stands for one of the student's. What both
mean alike is a box in the image. So the teacher's boxes, after NMS, take the labels' place in the
trainer's own loss, each as sure as the teacher is (o, the objectness, or the highest class
probability where a head has none):

    [yolo] heads:  over the anchors that would answer for such a label, o * (1 - CIoU) and o * KL of
                   the binary distributions of each class; over all cells KL of the objectness, with
                   o as the aim where a box is, 0 elsewhere, but for cells whose box overlaps one of
                   them by more than ignore_thresh; divided by the sum of o over those anchors, as
                   labels' parts are by the number of positives
    YOLOv8's:      the loss of labels (dfl_loss.py), its aims times o, of the likeliest class alone

What a teacher says below that, such as how its doubts are spread over neighbouring cells, is lost:
where cells do answer to each other, response.py is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...detection.boxes import iou, xywh_to_xyxy
from ...detection.nms import suppress
from ...detection.options import IOU_THRES, NmsKind
from ...network.layers import Dfl, Head, Yolo
from ..losses.assign import Grid, Matches, assign, flat_place
from ..losses.box_loss import decode_px
from ..losses.options import GAINS, LossOptions
from ..losses.truth import Truth
from ..losses.two_sets import dfl_loss
from ..losses.yolo_loss import YoloLoss
from .response import binary

# A box of which the teacher is less sure is background to a student, as good as.
_WORTH_TEACHING = 0.05
_MOST_CANDIDATES, _MOST_BOXES = 2000, 300

Size = tuple[int, int]


@dataclass(frozen=True)
class Found:
    """What a teacher sees in a batch: T boxes.

    rows (T, 6): image, likeliest class, xc, yc, w, h as shares of the input; sure (T,): that there
    is an object; classes (T, nc): the probability of each class, if there is one.
    """

    rows: Tensor
    sure: Tensor
    classes: Tensor


@torch.no_grad()
def seen(heads: Sequence[Head], raw: Sequence[Tensor], img_hw: Size) -> Found:
    """The boxes of a teacher's raw heads, for inputs of (height, width) `img_hw`, after NMS."""
    pairs = zip(heads, raw, strict=True)
    parts = [_decoded(head, x.float(), img_hw) for head, x in pairs if head.answers]
    predictions = torch.cat(parts, 1)
    kind = NmsKind.of_head(heads[-1].section)
    full = predictions.new_tensor([img_hw[1], img_hw[0], img_hw[1], img_hw[0]])
    rows = []
    for number, own in enumerate(predictions):
        kept = own[_kept(own, kind)]
        first = torch.full_like(kept[:, :1], number)
        best = kept[:, 5:].argmax(1, keepdim=True).float()
        rows.append(torch.cat((first, best, kept[:, :4] / full, kept[:, 4:]), 1))
    table = torch.cat(rows)
    return Found(table[:, :6], table[:, 6], table[:, 7:])


def boxes_loss(heads: Sequence[Any], raw: Sequence[Tensor], found: Found, img_hw: Size) -> Tensor:
    """The scalar for a student's raw heads (B, C, H, W) float32, all [yolo] or all YOLOv8's."""
    if isinstance(heads[0], Dfl):
        truth = Truth.of_batch(found.rows, len(raw[0]), img_hw, found.sure)
        return torch.stack(list(dfl_loss(heads, LossOptions())(raw, truth).values())).sum()
    truth = Truth.of_batch(found.rows, len(raw[0]), img_hw)
    losses = [YoloLoss(head, LossOptions()) for head in heads]
    grids = [loss.grid(x, img_hw) for loss, x in zip(losses, raw, strict=True)]
    matches = assign(found.rows, grids, img_hw, LossOptions.iou_t)
    parts = [
        _anchored(loss, x, grid, match, found, truth)
        for loss, x, grid, match in zip(losses, raw, grids, matches, strict=True)
    ]
    answering = torch.cat([found.sure[match.target] for match in matches]).sum()
    return torch.stack(parts).sum() / answering.clamp(min=1)


def _anchored(
    loss: YoloLoss, raw: Tensor, grid: Grid, match: Matches, found: Found, truth: Truth
) -> Tensor:
    """Weighted sum over the cells of a head with anchors."""
    head: Yolo = loss.head
    cells = head.split(raw)  # (B, n, entries, H, W)
    picked = cells[match.image, match.anchor, :, match.row, match.column]  # (M, entries)
    sure = found.sure[match.target]
    mine = decode_px(head, grid, picked[:, head.box_entries], match, truth.img_hw)
    wanted = found.rows[match.target, 2:6] * truth.full(raw.device)
    fit = iou(xywh_to_xyxy(mine), xywh_to_xyxy(wanted), "ciou")
    first = head.entries - head.nc
    classes = binary(head, picked[:, first:], found.classes[match.target]).sum(1)
    objectness = cells[:, :, head.objectness_entry].contiguous()
    place = flat_place(match, objectness)
    aim = torch.zeros_like(objectness).view(-1).scatter_reduce_(0, place, sure, "amax")
    counts = torch.ones_like(aim)
    counts[loss.overlapping(cells, grid, truth)[0]] = 0
    counts[place] = 1
    there = (counts * binary(head, objectness.view(-1), aim)).sum()
    box, kinds = (sure * (1 - fit)).sum(), (sure * classes).sum()
    return GAINS["box"] * box + GAINS["objectness"] * there + GAINS["classes"] * kinds


def _decoded(head: Head, raw: Tensor, img_hw: Size) -> Tensor:
    """(B, N, 5 + nc): xywh in pixels, how sure an object is, each class if there is one."""
    boxes = head.decode(raw, img_hw)
    # Heads that put out numbers as they are may leave 0..1.
    boxes[..., 4:].clamp_(0, 1)
    if head.scores_objects:
        return boxes
    best = boxes[..., 5:].amax(2, keepdim=True).clamp(min=1e-9)
    return torch.cat((boxes[..., :4], best, boxes[..., 5:] / best), 2)


def _kept(rows: Tensor, kind: NmsKind) -> Tensor:
    """Which of an image's rows (N, 5 + nc) NMS leaves, best score first."""
    best, classes = rows[:, 5:].max(1)
    scores = rows[:, 4] * best
    sane = rows.isfinite().all(1) & (rows[:, 2:4] >= 1).all(1) & (scores > _WORTH_TEACHING)
    places = sane.nonzero()[:, 0]
    places = places[scores[places].argsort(descending=True, stable=True)][:_MOST_CANDIDATES]
    kept = suppress(
        xywh_to_xyxy(rows[places, :4]).double().cpu().numpy(),
        scores[places].cpu().numpy(),
        classes[places].cpu().numpy().astype(np.int32),
        IOU_THRES,
        _MOST_BOXES,
        kind,
    )
    return places[torch.from_numpy(kept).to(places.device)]
