"""Distillation: a frozen teacher tells a student more than labels do.

1, 2: the two strategies of the known pruning suite, with its factors (temperature T = 3, B images):

    1: 0.001 T^2 / B * sum over all rows of KL(teacher, student) of all entries of a row
    2: 0.0001 T^2 / B * sum over all cells and anchors of KL over objectness and classes, and
       0.001 * sum of d over the assigned boxes whose d exceeds the teacher's; d is the squared
       distance of x, y, w, h to the target, in cells

response: what the teacher answers in place of labels (response.py)

feature: the student is the teacher minus channels, and its plan says which. So features are
compared channel by channel, without adapters, at the last layer of each scale and before the heads:

    cwd: T^2 / (B C) * sum over channels of KL of the softmax over positions (Shu et al.,
         "Channel-wise Knowledge Distillation for Dense Prediction", ICCV 2021)
    mse: mean of the squared difference, in units of the teacher's variance in that channel
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...command.errors import UserError
from ...network.channel_links import Link
from ...network.darknet import Network
from ...network.layers import Head, Yolo
from ..losses.assign import Grid, Matches, assign, reach_of
from ..losses.box_loss import decode_px, grid_of
from ..losses.loss import Losses
from ..losses.options import LossOptions
from .options import DistillOptions
from .response import RESPONSES, response_loss

# Heads by their `loss_kind` that strategies 1 and 2 compare, cell by cell.
_CELL_BY_CELL = ("yolo",)

_ROWS_FACTOR = 0.001
_CLASS_FACTOR = 0.0001
_BOX_FACTOR = 0.001
_VARIANCE_FLOOR = 1e-6  # a dead channel of the teacher has no scale


class Distiller:
    """Callable: images and what the student made of them -> {"kd": scalar}."""

    def __init__(
        self,
        teacher: Network,
        heads: Sequence[Head],
        options: DistillOptions,
        links: Sequence[Link] = (),
        iou_t: float = LossOptions.iou_t,
    ) -> None:
        """`teacher`: in evaluation mode; `links`: features to compare; `iou_t`: of strategy 2.

        Raises UserError where no head of the teacher answers to one of the student.
        """
        self.teacher = teacher
        self.options = options
        self.links = tuple(links)
        self.iou_t = iou_t
        self.heads = tuple(heads)
        self.pairs: tuple[tuple[int, int], ...] = ()
        if set(options.kinds) & {"1", "2"}:
            self.pairs = matched_heads(heads, teacher.heads, _CELL_BY_CELL)
        elif "response" in options.kinds:
            self.pairs = matched_heads(heads, teacher.heads)

    @property
    def observed(self) -> tuple[int, ...]:
        """The student's layers whose values the call needs."""
        return tuple(link.layer for link in self.links)

    def __call__(
        self,
        images: Tensor,
        raw: Sequence[Tensor],
        values: Mapping[int, Tensor],
        targets: Tensor,
    ) -> Losses:
        """images (B, 3, H, W); raw: the student's heads; values: of its `observed` layers.

        targets (T, 6): image, class, xc, yc, w, h of the input.
        """
        wanted = [link.teacher_layer for link in self.links]
        with torch.no_grad():
            taught, features = self.teacher.observe(images, wanted)
        kinds, hw = self.options.kinds, (images.shape[2], images.shape[3])
        total = images.new_zeros(())
        # Heads of a kind know what its losses ask of them.
        pairs: list[tuple[Any, Tensor, Tensor]] = [
            (self.heads[i], raw[i].float(), taught[j].float()) for i, j in self.pairs
        ]
        cellwise = [pair for pair in pairs if pair[0].loss_kind in _CELL_BY_CELL]
        if "1" in kinds:
            total = total + self.options.gain * self._rows(cellwise)
        if "2" in kinds:
            boxes = _boxes(cellwise, targets, hw, self.iou_t)
            total = total + self.options.gain * (self._classes(cellwise) + boxes)
        if "response" in kinds:
            total = total + self.options.gain * response_loss(pairs, hw)
        if self.links:
            total = total + self.options.feature_gain * self._features(values, features)
        return {"kd": total}

    def _rows(self, pairs: Sequence[tuple[Yolo, Tensor, Tensor]]) -> Tensor:
        t = self.options.temperature
        parts = [
            divergence(_entries(head, mine), _entries(head, taught), t).sum() / len(mine)
            for head, mine, taught in pairs
        ]
        return _ROWS_FACTOR * t**2 * torch.stack(parts).sum()

    def _classes(self, pairs: Sequence[tuple[Yolo, Tensor, Tensor]]) -> Tensor:
        t = self.options.temperature
        parts = [
            divergence(_scores(head, mine), _scores(head, taught), t).sum() / len(mine)
            for head, mine, taught in pairs
        ]
        return _CLASS_FACTOR * t**2 * torch.stack(parts).sum()

    def _features(self, mine: Mapping[int, Tensor], taught: Mapping[int, Tensor]) -> Tensor:
        """Mean over the linked layers."""
        parts = []
        for link in self.links:
            wanted = taught[link.teacher_layer][:, list(link.channels)].float()
            own = mine[link.layer].float()
            if self.options.feature_loss == "cwd":
                parts.append(channel_wise(own, wanted, self.options.temperature))
            else:
                parts.append(relative_error(own, wanted))
        return torch.stack(parts).mean()


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher, student) (...,) of the softmaxes of logits (..., n) at a temperature."""
    mine = F.log_softmax(student / temperature, -1)
    taught = F.log_softmax(teacher / temperature, -1)
    return (taught.exp() * (taught - mine)).sum(-1)


def channel_wise(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean over images and channels of T^2 KL over the positions of maps (B, C, H, W)."""
    return temperature**2 * divergence(student.flatten(2), teacher.flatten(2), temperature).mean()


def relative_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of maps (B, C, H, W), in units of the teacher's variance."""
    scale = teacher.var((0, 2, 3), correction=0, keepdim=True).clamp_min(_VARIANCE_FLOOR)
    return ((student - teacher).square() / scale).mean()


def matched_heads(
    student: Sequence[Head],
    teacher: Sequence[Head],
    kinds: Collection[str] = tuple(RESPONSES),
) -> tuple[tuple[int, int], ...]:
    """Positions (student's, teacher's) of heads of the same grid, anchors or bins, and classes.

    A teacher may have more heads, or others; heads of other `kinds` are left out. Raises UserError
    when none fits.
    """
    pairs = []
    for i, mine in enumerate(student):
        same = [
            j
            for j, other in enumerate(teacher)
            if mine.loss_kind in kinds and mine.answers_as(other)
        ]
        pairs += [(i, same[0])] if same else []
    if not pairs:
        raise UserError(
            "--distill: no head of the teacher has the grid, anchors and classes of one of the "
            "student's; strategies 1 and 2 compare [yolo] heads cell by cell, response YOLOv8's "
            "as well; --distill feature compares features, with any head"
        )
    return tuple(pairs)


def _entries(head: Yolo, raw: Tensor) -> Tensor:
    """Raw head -> (B, n, H, W, entries)."""
    return head.split(raw).movedim(2, -1)


def _scores(head: Yolo, raw: Tensor) -> Tensor:
    """Raw objectness and classes (B, n, H, W, 1 + nc)."""
    return _entries(head, raw)[..., head.objectness_entry :]


def _boxes(
    pairs: Sequence[tuple[Yolo, Tensor, Tensor]],
    targets: Tensor,
    img_hw: tuple[int, int],
    iou_t: float,
) -> Tensor:
    """The distances of the student's boxes that the teacher puts nearer to their targets."""
    grids = [grid_of(head, raw, reach_of(head.scale_x_y)) for head, raw, _ in pairs]
    matches = assign(targets, grids, img_hw, iou_t)
    total = targets.new_zeros(())
    for (head, mine, taught), grid, match in zip(pairs, grids, matches, strict=True):
        own = _distances(head, grid, match, mine, targets, img_hw)
        teachers = _distances(head, grid, match, taught, targets, img_hw)
        total = total + own[own > teachers].sum()
    return _BOX_FACTOR * total


def _distances(
    head: Yolo, grid: Grid, match: Matches, raw: Tensor, targets: Tensor, img_hw: tuple[int, int]
) -> Tensor:
    """Squared distances (M,) of the positives' x, y, w, h to their targets', in cells."""
    rows = head.split(raw)[match.image, match.anchor, :, match.row, match.column]
    boxes_px = decode_px(head, grid, rows[:, head.box_entries], match, img_hw)
    cells = targets.new_tensor([grid.columns, grid.rows, grid.columns, grid.rows])
    full = targets.new_tensor([img_hw[1], img_hw[0], img_hw[1], img_hw[0]])
    wanted = targets[match.target, 2:6] * cells
    return (boxes_px / full * cells - wanted).square().sum(-1)
