"""Distillation: a frozen teacher tells a student more than labels do.

1, 2: the two strategies of the known pruning suite (rows.py)
response: what the teacher answers in place of labels (response.py)
feature: the features of the channels that pruning kept, at the last layer of each scale and before
    the heads (features.py, links.py)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...network.channel_links import Link
from ...network.darknet import Network
from ...network.layers import Head
from ..losses.loss import Losses
from ..losses.options import LossOptions
from .features import feature_loss
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
            self.pairs = matched_heads(heads, teacher.heads, CELL_BY_CELL)
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
        asked, hw = self.options, (images.shape[2], images.shape[3])
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
        if self.links:
            total = total + asked.feature_gain * feature_loss(self.links, values, features, asked)
        return {"kd": total}
