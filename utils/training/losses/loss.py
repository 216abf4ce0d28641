"""The loss of raw heads, as named parts; computed in float32 whatever the network is.

Per positive (see assign.py) of a [yolo] head: 1 - CIoU of its box, and binary cross-entropy of its
classes. Per cell and anchor: binary cross-entropy of the objectness, towards the IoU that a
positive's box has at the moment (so that objectness ranks boxes by how well they fit), or towards
1; background that overlaps a target by more than `ignore_thresh` is left alone. Each part is a sum
over all heads divided by the number of positives, so that a cell counts alike in coarse and fine
heads and small objects are not outvoted. Where the cfg decides, each head goes by its section
(head_rules.py), and sums are divided by the number of images, for which Darknet's learning rates
are made. [Gaussian_yolo] boxes: box_loss.py; [region]: region_loss.py. The heads of YOLOv8, which
share their targets out among all levels, have a loss of their own: dfl_loss.py.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ...network.layers import Head
from ..optimization.ranks import Ranks
from .assign import Grid, Matches, assign
from .options import LossOptions
from .region_loss import RegionLoss
from .truth import Truth
from .two_sets import dfl_loss
from .yolo_loss import YoloLoss

Losses = dict[str, Tensor]


class HeadLoss(Protocol):
    """One head's share of the loss; iou_t: from which IoU of sizes an anchor takes a target."""

    @property
    def iou_t(self) -> float: ...

    def grid(self, raw: Tensor, img_hw: tuple[int, int]) -> Grid:
        """The head as the assignment sees it."""

    def sums(
        self, raw: Tensor, grid: Grid, match: Matches, truth: Truth
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Box, objectness and classes: weighted sums over the cells of a head."""


class JointLoss(Protocol):
    """The loss of heads that share their targets out among all of them."""

    def __call__(self, raw: Sequence[Tensor], truth: Truth) -> Losses: ...

    def at(self, done: float) -> JointLoss:
        """The loss at a point of the training: 0 in its first epoch, 1 in its last."""


# A head's `loss_kind` -> its loss. Heads of one kind know what their loss asks of them.
HEAD_LOSSES: dict[str, Callable[[Any, LossOptions], HeadLoss]] = {
    "yolo": YoloLoss,
    "region": RegionLoss,
}
# Those that take all heads at once.
JOINT_LOSSES: dict[str, Callable[[Any, LossOptions, Ranks], JointLoss]] = {"dfl": dfl_loss}


class DetectionLoss:
    """Callable: raw heads, targets and input size -> named parts, weighted scalars.

    "box", "obj" and "cls", or "box", "cls" and "dfl" for YOLOv8's heads.
    """

    def __init__(
        self,
        heads: Sequence[Head],
        options: LossOptions | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        """`ranks`: the processes that share a batch, whose gradients will be averaged.

        Raises CfgError for a head that cannot be trained.
        """
        self._ranks = ranks or Ranks()
        self.options = options or LossOptions()
        joint = [head for head in heads if head.loss_kind in JOINT_LOSSES]
        if joint and len(joint) < len(heads):
            raise joint[0].error("cannot be trained beside heads with anchors")
        self.joint: JointLoss | None = None
        self.heads: list[HeadLoss] = []
        if joint:
            self.joint = JOINT_LOSSES[joint[0].loss_kind](joint, self.options, self._ranks)
        else:
            self.heads = [_loss_of(head, self.options) for head in heads]

    def at(self, done: float) -> DetectionLoss:
        """The loss at a point of the training, 0 in its first epoch, 1 in its last.

        Only the weights of two sets of heads depend on it.
        """
        if self.joint is None:
            return self
        found = copy.copy(self)
        found.joint = self.joint.at(done)
        return found

    def __call__(self, raw: Sequence[Tensor], targets: Tensor, img_hw: tuple[int, int]) -> Losses:
        """`raw`: (B, n * entries, H, W) per head; `targets` (T, 6): image, class, xc, yc, w, h.

        Targets are normalised to the input, whose (height, width) is `img_hw`.
        """
        truth = Truth.of_batch(targets, len(raw[0]), img_hw)
        if self.joint is not None:
            return self.joint(raw, truth)
        grids = [head.grid(x, img_hw) for head, x in zip(self.heads, raw, strict=True)]
        matches = assign(truth.rows, grids, img_hw, [head.iou_t for head in self.heads])
        parts = [
            head.sums(x, grid, match, truth)
            for head, x, grid, match in zip(self.heads, raw, grids, matches, strict=True)
        ]
        box, objectness, classes = (torch.stack(part).sum() for part in zip(*parts, strict=True))
        positives = sum(len(match.target) for match in matches)
        share: float = len(raw[0])
        if not self.options.from_cfg:
            # The mean of the ranks' gradients is to be the gradient of all images over all
            # positives.
            share = max(self._ranks.mean(positives), 1 / self._ranks.world)
        return {"box": box / share, "obj": objectness / share, "cls": classes / share}


def total(losses: Losses) -> Tensor:
    """The scalar to minimise."""
    return torch.stack(list(losses.values())).sum()


def _loss_of(head: Head, options: LossOptions) -> HeadLoss:
    if head.loss_kind not in HEAD_LOSSES:
        raise head.error("heads of this kind cannot be trained")
    return HEAD_LOSSES[head.loss_kind](head, options)
