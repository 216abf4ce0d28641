"""The YOLOv3/v4 loss from raw heads, as named parts; computed in float32 whatever the network is.

Per positive (see assign.py): 1 - CIoU of its box, and binary cross-entropy of its classes. Per
cell and anchor: binary cross-entropy of the objectness, towards the IoU that a positive's box has
at the moment (so that objectness ranks boxes by how well they fit), or towards 1; background that
overlaps a target by more than `ignore_thresh` is left alone. Each part is a sum over all heads
divided by the number of positives, so that a cell counts alike in coarse and fine heads and small
objects are not outvoted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ..boxes import IouKind, iou, xywh_to_xyxy
from ..layers import Yolo
from .assign import Grid, Matches, assign, reach_of

ObjectnessTarget = Literal["iou", "one"]
Losses = dict[str, Tensor]

# Background below this probability is not worth the search for an overlapping target: its
# gradient is its probability, already next to nothing.
_WORTH_IGNORING = 0.05
_PROBABILITY_EPS = 1e-6
# Wider than any box; keeps a stray logit of an untrained network from overflowing.
_LARGEST_LOG = math.log(1e4)


@dataclass(frozen=True)
class LossOptions:
    """Weights and rules of the loss.

    box, objectness, classes: factors of the three parts. box_loss: which IoU. iou_t: an anchor
    takes a target when the IoU of their sizes exceeds it. objectness_target: the positives' target.
    ignore_thresh: None reads each head's section. label_smoothing: classes aim at 1 - s + s / nc
    and s / nc instead of 1 and 0.
    """

    box: float = 2.0
    objectness: float = 1.0
    classes: float = 0.5
    box_loss: IouKind = "ciou"
    iou_t: float = 0.2
    objectness_target: ObjectnessTarget = "iou"
    ignore_thresh: float | None = None
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.box_loss not in get_args(IouKind):
            raise ValueError(f"unknown box loss {self.box_loss!r}")
        if self.objectness_target not in get_args(ObjectnessTarget):
            raise ValueError(f"unknown objectness target {self.objectness_target!r}")


@dataclass(frozen=True)
class _Truth:
    """The targets of a batch: rows (T, 6), and boxes (B, most, 4) xyxy in pixels, 0 where none."""

    rows: Tensor
    boxes_px: Tensor
    img_hw: tuple[int, int]


class DetectionLoss:
    """Callable: raw heads, targets and input size -> {"box", "obj", "cls"}, weighted scalars."""

    def __init__(self, heads: Sequence[Yolo], options: LossOptions | None = None) -> None:
        self.heads = tuple(heads)
        self.options = options or LossOptions()

    def __call__(self, raw: Sequence[Tensor], targets: Tensor, img_hw: tuple[int, int]) -> Losses:
        """`raw`: (B, n * (5 + nc), H, W) per head; `targets` (T, 6): image, class, xc, yc, w, h.

        Targets are normalised to the input, whose (height, width) is `img_hw`.
        """
        targets = targets.float()
        truth = _Truth(targets, _by_image(targets, len(raw[0]), img_hw), img_hw)
        grids = [_grid(head, x) for head, x in zip(self.heads, raw, strict=True)]
        matches = assign(targets, grids, img_hw, self.options.iou_t)
        parts = [
            self._head(head, x, grid, match, truth)
            for head, x, grid, match in zip(self.heads, raw, grids, matches, strict=True)
        ]
        box, objectness, classes = (torch.stack(part).sum() for part in zip(*parts, strict=True))
        o, positives = self.options, max(1, sum(len(match.target) for match in matches))
        return {
            "box": box * (o.box / positives),
            "obj": objectness * (o.objectness / positives),
            "cls": classes * (o.classes / positives),
        }

    def _head(
        self, head: Yolo, raw: Tensor, grid: Grid, match: Matches, truth: _Truth
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One head's sums: boxes and classes over the positives, objectness over all cells."""
        cells = head.split(raw)  # (B, n, 5 + nc, H, W)
        # Indices on both sides of a slice: the positives become the first dimension. (M, 5 + nc)
        picked = cells[match.image, match.anchor, :, match.row, match.column].float()
        boxes = decode_px(head, grid, picked[:, :4], match, truth.img_hw)
        wanted = truth.rows[match.target]  # (M, 6)
        fit = iou(
            xywh_to_xyxy(boxes),
            xywh_to_xyxy(_to_px(wanted[:, 2:6], truth.img_hw)),
            self.options.box_loss,
        )
        objectness = self._objectness(head, cells, grid, match, fit.detach(), truth)
        classes = self._classes(head, picked[:, 5:], wanted[:, 1].long())
        return (1 - fit).sum(), objectness, classes

    def _classes(self, head: Yolo, raw: Tensor, wanted: Tensor) -> Tensor:
        """Sum over the positives (M, nc) and their classes; `wanted` (M,)."""
        smoothing = self.options.label_smoothing
        aim = torch.full_like(raw, smoothing / head.nc)
        aim.scatter_(1, wanted[:, None], 1 - smoothing + smoothing / head.nc)
        return _cross_entropy(head, raw, aim).sum()

    def _objectness(
        self, head: Yolo, cells: Tensor, grid: Grid, match: Matches, fit: Tensor, truth: _Truth
    ) -> Tensor:
        """Sum over all cells and anchors; `fit` (M,): the IoU of the positives' boxes."""
        raw = cells[:, :, 4].float().contiguous()  # (B, n, H, W)
        to_fit = self.options.objectness_target == "iou"
        place = _flat_place(match, raw)
        # Two targets may share a cell's anchor: its objectness follows the better one.
        aim = torch.zeros_like(raw).view(-1)
        aim.scatter_reduce_(0, place, fit.clamp(0, 1) if to_fit else torch.ones_like(fit), "amax")
        weight = torch.ones_like(aim)
        weight[self._ignored(head, cells, raw, grid, truth)] = 0
        weight[place] = 1
        return (_cross_entropy(head, raw.view(-1), aim) * weight).sum()

    @torch.no_grad()
    def _ignored(
        self, head: Yolo, cells: Tensor, objectness: Tensor, grid: Grid, truth: _Truth
    ) -> Tensor:
        """Flat places (K,) in (B, n, H, W) whose box overlaps a target of its image enough."""
        thresh = self.options.ignore_thresh
        if thresh is None:
            thresh = head.section.number("ignore_thresh", 0.5)
        probability = objectness if head.new_coords else objectness.sigmoid()
        image, anchor, row, column = (probability > _WORTH_IGNORING).nonzero(as_tuple=True)
        likely = Matches(image, anchor, row, column, target=image)
        places = _flat_place(likely, objectness)
        if thresh >= 1 or not len(truth.rows) or not len(places):
            return places[:0]
        raw = cells[image, anchor, :4, row, column].float()
        boxes = xywh_to_xyxy(decode_px(head, grid, raw, likely, truth.img_hw))
        overlap = iou(boxes[:, None], truth.boxes_px[image])  # (K, most)
        return places[overlap.amax(1) > thresh]


def total(losses: Losses) -> Tensor:
    """The scalar to minimise."""
    return torch.stack(list(losses.values())).sum()


def decode_px(
    head: Yolo, grid: Grid, raw: Tensor, cells: Matches, img_hw: tuple[int, int]
) -> Tensor:
    """Boxes (M, 4), xywh in input pixels, of the raw rows (M, 4) at `cells`, as Yolo.decode."""
    cell = torch.stack((cells.column, cells.row), 1)
    stride = raw.new_tensor([img_hw[1] / grid.columns, img_hw[0] / grid.rows])
    xy = raw[:, :2] if head.new_coords else raw[:, :2].sigmoid()
    xy = (xy * head.scale_x_y - 0.5 * (head.scale_x_y - 1) + cell) * stride
    wh = 4 * raw[:, 2:].square() if head.new_coords else raw[:, 2:].clamp(max=_LARGEST_LOG).exp()
    return torch.cat((xy, wh * grid.anchors_px[cells.anchor]), 1)


def _cross_entropy(head: Yolo, raw: Tensor, aim: Tensor) -> Tensor:
    """Binary, elementwise; new_coords heads put out probabilities, the others logits."""
    if head.new_coords:
        bounded = raw.clamp(_PROBABILITY_EPS, 1 - _PROBABILITY_EPS)
        return F.binary_cross_entropy(bounded, aim, reduction="none")
    return F.binary_cross_entropy_with_logits(raw, aim, reduction="none")


def _grid(head: Yolo, raw: Tensor) -> Grid:
    anchors_px = head.anchors_px.to(raw.device)
    return Grid(raw.shape[2], raw.shape[3], anchors_px, reach_of(head.scale_x_y))


def _to_px(boxes: Tensor, img_hw: tuple[int, int]) -> Tensor:
    height, width = img_hw
    return boxes * boxes.new_tensor([width, height, width, height])


def _flat_place(cells: Matches, like: Tensor) -> Tensor:
    """Places (M,) of the cells in a flattened (B, n, H, W), the shape of `like`."""
    _, n, rows, columns = like.shape
    return ((cells.image * n + cells.anchor) * rows + cells.row) * columns + cells.column


def _by_image(targets: Tensor, images: int, img_hw: tuple[int, int]) -> Tensor:
    """Boxes of the targets (T, 6), laid out per image: (images, most in one, 4) xyxy in pixels."""
    image = targets[:, 0].long()
    counts = torch.bincount(image, minlength=images)
    order = image.argsort(stable=True)
    first = counts.cumsum(0) - counts
    place = torch.arange(len(targets), device=targets.device) - first[image[order]]
    table = targets.new_zeros(images, int(counts.max()), 4)
    table[image[order], place] = xywh_to_xyxy(_to_px(targets[order, 2:6], img_hw))
    return table
