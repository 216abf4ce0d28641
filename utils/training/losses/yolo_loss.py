"""The loss of a [yolo] or [Gaussian_yolo] head (see loss.py); its boxes: box_loss.py."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...detection.boxes import iou, xywh_to_xyxy
from ...network.layers import Yolo
from .assign import Grid, Matches, flat_place, reach_of
from .box_loss import box_loss, decode_px, grid_of
from .head_rules import rules_of
from .options import LossOptions
from .truth import Truth

# Background below this probability is not worth the search for an overlapping target: its
# gradient is its probability, already next to nothing.
_WORTH_IGNORING = 0.05
_PROBABILITY_EPS = 1e-6


class YoloLoss:
    """One [yolo] or [Gaussian_yolo] head's share of the loss."""

    def __init__(self, head: Yolo, options: LossOptions) -> None:
        self.head = head
        self.rules = rules_of(head, options)

    @property
    def iou_t(self) -> float:
        """From which IoU of sizes an anchor takes a target."""
        return self.rules.iou_t

    def grid(self, raw: Tensor, img_hw: tuple[int, int]) -> Grid:
        """The head as the assignment sees it."""
        reach = 0.0 if self.rules.as_darknet else reach_of(self.head.scale_x_y)
        return grid_of(self.head, raw, reach)

    def sums(
        self, raw: Tensor, grid: Grid, match: Matches, truth: Truth
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes and classes over the positives, objectness over all cells."""
        head, rules = self.head, self.rules
        cells = head.split(raw)  # (B, n, entries, H, W)
        ignored, surplus = self.overlapping(cells, grid, truth)
        if rules.truth_thresh < 1:
            match = _joined(match, surplus)
        # Indices on both sides of a slice: the positives become the first dimension. (M, entries)
        picked = cells[match.image, match.anchor, :, match.row, match.column].float()
        wanted = truth.rows[match.target]  # (M, 6)
        box, fit = box_loss(head, rules, grid, picked, match, wanted[:, 2:6], truth.img_hw)
        objectness = self._objectness(cells, match, fit, ignored)
        classes = self._classes(picked[:, head.entries - head.nc :], wanted[:, 1].long())
        return box, rules.objectness * objectness, rules.classes * classes

    def _classes(self, raw: Tensor, wanted: Tensor) -> Tensor:
        """Sum over the positives (M, nc) and their classes; `wanted` (M,)."""
        smoothing = self.rules.label_smoothing
        aim = torch.full_like(raw, smoothing / self.head.nc)
        aim.scatter_(1, wanted[:, None], 1 - smoothing + smoothing / self.head.nc)
        return cross_entropy(self.head, raw, aim).sum()

    def _objectness(self, cells: Tensor, match: Matches, fit: Tensor, ignored: Tensor) -> Tensor:
        """Sum over all cells and anchors; `fit` (M,): the IoU of the positives' boxes."""
        raw = self._raw_objectness(cells)
        to_fit = self.rules.objectness_target == "iou"
        place = flat_place(match, raw)
        # Two targets may share a cell's anchor: its objectness follows the better one.
        aim = torch.zeros_like(raw).view(-1)
        aim.scatter_reduce_(0, place, fit.clamp(0, 1) if to_fit else torch.ones_like(fit), "amax")
        weight = torch.ones_like(aim)
        weight[ignored] = 0
        weight[place] = 1
        return (cross_entropy(self.head, raw.view(-1), aim) * weight).sum()

    def _raw_objectness(self, cells: Tensor) -> Tensor:
        return cells[:, :, self.head.objectness_entry].float().contiguous()  # (B, n, H, W)

    @torch.no_grad()
    def overlapping(self, cells: Tensor, grid: Grid, truth: Truth) -> tuple[Tensor, Matches]:
        """Where boxes overlap a target of their image by more than `ignore_thresh`: flat places.

        (K,) in (B, n, H, W). Second, those that do by more than `truth_thresh`, with the target.
        """
        head, rules = self.head, self.rules
        objectness = self._raw_objectness(cells)
        probability = objectness if head.new_coords else objectness.sigmoid()
        least = _WORTH_IGNORING if rules.truth_thresh >= 1 else -1.0
        if min(rules.ignore_thresh, rules.truth_thresh) >= 1 or not len(truth.rows):
            least = 2.0  # no box is
        image, anchor, row, column = (probability > least).nonzero(as_tuple=True)
        likely = Matches(image, anchor, row, column, target=image)
        places = flat_place(likely, objectness)
        if not len(places):
            return places, likely
        raw = cells[image, anchor, :, row, column].float()[:, head.box_entries]
        boxes = xywh_to_xyxy(decode_px(head, grid, raw, likely, truth.img_hw))
        best = iou(boxes[:, None], truth.boxes_px[image]).max(1)  # over (K, most)
        sure = best.values > rules.truth_thresh
        target = truth.numbers[image, best.indices]
        surplus = Matches(image[sure], anchor[sure], row[sure], column[sure], target[sure])
        return places[best.values > rules.ignore_thresh], surplus


def _joined(a: Matches, b: Matches) -> Matches:
    """All of a, and those of b that a does not have."""
    rows_a, rows_b = (
        torch.stack((m.image, m.anchor, m.row, m.column, m.target), 1) for m in (a, b)
    )
    return Matches(*torch.unique(torch.cat((rows_a, rows_b)), dim=0).unbind(1))


def cross_entropy(head: Yolo, raw: Tensor, aim: Tensor) -> Tensor:
    """Binary, elementwise; new_coords heads put out probabilities, the others logits."""
    if head.new_coords:
        bounded = raw.clamp(_PROBABILITY_EPS, 1 - _PROBABILITY_EPS)
        return F.binary_cross_entropy(bounded, aim, reduction="none")
    return F.binary_cross_entropy_with_logits(raw, aim, reduction="none")
