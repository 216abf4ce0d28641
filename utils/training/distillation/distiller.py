"""Distillation: a frozen teacher tells a student more than labels do.

1, 2: the two strategies of the known pruning suite (rows.py)
response: what the teacher answers in place of labels: cell by cell where its heads are like the
    student's (matching.py, response.py), else by its boxes (by_boxes.py)
feature: the features of the channels that pruning kept, at the last layer of each scale and before
    the heads (features.py, links.py)
cross: what the teacher's own head makes of the student's features (cross.py, links.py)

The teacher may see the images at another size (sight.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...command.errors import UserError
from ...network.darknet import Network
from ...network.layers import Head
from ..losses.loss import Losses
from ..losses.options import LossOptions
from .by_boxes import boxes_loss, seen
from .cross import cross_loss
from .features import feature_loss
from .links import UNLINKED, Linked
from .matching import Places, alike, matched_heads, require_labels_by_boxes
from .options import DistillOptions
from .response import Pair, response_loss
from .rows import CELL_BY_CELL, boxes_and_classes_loss, rows_loss
from .sight import SAME, Sight, Size


class Distiller:
    """Callable: images and what the student made of them -> {"kd": scalar}."""

    def __init__(
        self,
        teacher: Network,
        heads: Sequence[Head],
        options: DistillOptions,
        linked: Linked = UNLINKED,
        iou_t: float = LossOptions.iou_t,
        sight: Sight = SAME,
    ) -> None:
        """`teacher`: in evaluation mode; `linked`: for feature and cross; `iou_t`: of strategy 2.

        Raises UserError where the teacher has nothing to say to these heads, or not at that size.
        """
        self.teacher = teacher
        self.options = options
        self.linked = linked
        self.iou_t = iou_t
        self.sight = sight
        self.heads = tuple(heads)
        self.pairs: Places = ()
        if set(options.kinds) & {"1", "2"}:
            self.pairs = matched_heads(heads, teacher.heads, CELL_BY_CELL, sight.factor)
        elif "response" in options.kinds:
            self.pairs = alike(heads, teacher.heads, factor=sight.factor)
            if not self.pairs:
                require_labels_by_boxes(heads)
        if (linked.features or linked.crossings) and sight.factor != 1:
            raise UserError(
                "--t-img-size: features are compared position by position, for which the teacher "
                "must see the images as the student does; --distill response takes any size"
            )

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
            seen_images = self.sight.of_images(images)
            taught, features = self.teacher.observe(seen_images, linked.of_teacher)
        total = images.new_zeros(())
        pairs = self._pairs(raw, taught)
        cellwise = [
            (head, mine, theirs)
            for head, mine, _, theirs in pairs
            if head.loss_kind in CELL_BY_CELL
        ]
        if "1" in asked.kinds:
            total = total + asked.gain * rows_loss(cellwise, asked.temperature)
        if "2" in asked.kinds:
            total = total + asked.gain * boxes_and_classes_loss(
                cellwise, targets, hw, self.iou_t, asked.temperature
            )
        if "response" in asked.kinds:
            total = total + asked.gain * self._response(pairs, raw, taught, hw)
        if linked.features:
            apart = feature_loss(linked.features, values, features, asked)
            total = total + asked.feature_gain * apart
        if linked.crossings:
            crossed = cross_loss(self.teacher, linked.crossings, values, features, taught, hw)
            total = total + asked.gain * crossed
        return {"kd": total}

    def _pairs(self, raw: Sequence[Tensor], taught: Sequence[Tensor]) -> list[Pair]:
        """The heads that answer to each other, where their grids do in this batch.

        Sizes that change from batch to batch fit the strides of both networks differently.
        """
        pairs = [
            Pair(self.heads[i], raw[i].float(), self.teacher.heads[j], taught[j].float())
            for i, j in self.pairs
        ]
        if all(pair.raw.shape == pair.taught.shape for pair in pairs):
            return pairs
        if set(self.options.kinds) & {"1", "2"}:
            raise UserError(
                "--distill 1 and 2: a batch's size gives student and teacher other grids; leave "
                "out --multi-scale and --rect, or take --distill response"
            )
        return []

    def _response(
        self, pairs: Sequence[Pair], raw: Sequence[Tensor], taught: Sequence[Tensor], hw: Size
    ) -> Tensor:
        if pairs:
            return response_loss(pairs, hw, self.sight.factor)
        # Coordinates are too fine for the types that autocast multiplies in.
        with torch.autocast(raw[0].device.type, enabled=False):
            found = seen(self.teacher.heads, taught, self.sight.size(hw))
            return boxes_loss(self.heads, [x.float() for x in raw], found, hw)
