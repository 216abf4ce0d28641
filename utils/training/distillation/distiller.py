"""Distillation: a frozen teacher tells a student more than labels do.

1, 2: the two strategies of the known pruning suite (rows.py)
response: what the teacher answers in place of labels (response.py)
feature: the features of the channels that pruning kept, at the last layer of each scale and before
    the heads (features.py, links.py)
cross: what the teacher's own head makes of the student's features (cross.py, links.py)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...network.darknet import Network
from ...network.layers import Head
from ..losses.loss import Losses
from ..losses.options import LossOptions
from .cross import cross_loss
from .features import feature_loss
from .links import UNLINKED, Linked
from .matching import matched_heads
from .options import DistillOptions
from .response import response_loss
from .rows import CELL_BY_CELL, boxes_and_classes_loss, rows_loss


class Distiller:
    """Callable: images and what the student made of them -> {"kd": scalar}."""

    def __init__(
        self,
        teacher: Network,
        heads: Sequence[Head],
        options: DistillOptions,
        linked: Linked = UNLINKED,
        iou_t: float = LossOptions.iou_t,
    ) -> None:
        """`teacher`: in evaluation mode; `linked`: for feature and cross; `iou_t`: of strategy 2.

        Raises UserError where no head of the teacher answers to one of the student.
        """
        self.teacher = teacher
        self.options = options
        self.linked = linked
        self.iou_t = iou_t
        self.heads = tuple(heads)
        self.pairs: tuple[tuple[int, int], ...] = ()
        if set(options.kinds) & {"1", "2"}:
            self.pairs = matched_heads(heads, teacher.heads, CELL_BY_CELL)
        elif "response" in options.kinds:
            self.pairs = matched_heads(heads, teacher.heads)

    @property
    def observed(self) -> tuple[int, ...]:
        """The student's layers whose values the call needs."""
        return self.linked.of_student

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
        asked, linked, hw = self.options, self.linked, (images.shape[2], images.shape[3])
        with torch.no_grad():
            taught, features = self.teacher.observe(images, linked.of_teacher)
        total = images.new_zeros(())
        # Heads of a kind know what its losses ask of them.
        pairs: list[tuple[Any, Tensor, Tensor]] = [
            (self.heads[i], raw[i].float(), taught[j].float()) for i, j in self.pairs
        ]
        cellwise = [pair for pair in pairs if pair[0].loss_kind in CELL_BY_CELL]
        if "1" in asked.kinds:
            total = total + asked.gain * rows_loss(cellwise, asked.temperature)
        if "2" in asked.kinds:
            total = total + asked.gain * boxes_and_classes_loss(
                cellwise, targets, hw, self.iou_t, asked.temperature
            )
        if "response" in asked.kinds:
            total = total + asked.gain * response_loss(pairs, hw)
        if linked.features:
            apart = feature_loss(linked.features, values, features, asked)
            total = total + asked.feature_gain * apart
        if linked.crossings:
            crossed = cross_loss(self.teacher, linked.crossings, values, features, taught, hw)
            total = total + asked.gain * crossed
        return {"kd": total}
