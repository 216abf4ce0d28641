"""The loss of YOLOv2's `[region]` head, as Darknet's: squares for all but the classes.

Every target belongs to its cell's best anchor by shape. Objectness: half the squared error of its
logistic, towards the IoU of the box (rescore=1) or 1, background towards 0 unless it overlaps a
target by more than `thresh`. Box: cross-entropy of the centre (its gradient is Darknet's times the
logistic's, which saturates) and half the squared error of the logarithmic sides. Classes: softmax
cross-entropy; squares without softmax=1. The factors are the section's own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...detection.boxes import iou, xywh_to_xyxy
from ...network.layers.region import Region
from .assign import Grid, Matches, flat_place
from .options import LossOptions
from .truth import Truth

_LARGEST_LOG = 9.0
_SMALLEST_SIDE = 1e-6


class RegionLoss:
    """One [region] head's share of the loss."""

    iou_t = 1.0  # the best anchor alone

    def __init__(self, head: Region, options: LossOptions) -> None:
        """Raises CfgError for a head that cannot be trained: one with a tree of classes."""
        if head.tree:
            raise head.error(
                "a tree of classes cannot be trained; remove tree= and map= to train flat classes",
                "tree",
            )
        s = head.section
        self.head = head
        self.object_scale = s.number("object_scale", 1.0)
        self.noobject_scale = s.number("noobject_scale", 1.0)
        self.class_scale = s.number("class_scale", 1.0)
        self.coord_scale = s.number("coord_scale", 1.0)
        self.rescore = s.flag("rescore")
        own = options.ignore_thresh
        by_cfg = own is None or "ignore_thresh" in options.from_cfg
        self.thresh = s.number("thresh", 0.5) if own is None or by_cfg else own

    def grid(self, raw: Tensor, img_hw: tuple[int, int]) -> Grid:
        """Anchors are in cells: they grow with the stride."""
        rows, columns = raw.shape[2:]
        stride = raw.new_tensor([img_hw[1] / columns, img_hw[0] / rows], dtype=torch.float32)
        anchors = torch.tensor(self.head.all_anchors, device=raw.device)
        return Grid(rows, columns, anchors * stride, 0.0)

    def sums(
        self, raw: Tensor, grid: Grid, match: Matches, truth: Truth
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Box, objectness and classes, summed over the head."""
        cells = self.head.split(raw)  # (B, n, 5 + nc, H, W)
        picked = cells[match.image, match.anchor, :, match.row, match.column].float()
        wanted = truth.rows[match.target]  # (M, 6)
        full = truth.full(raw.device)
        boxes = xywh_to_xyxy(self.decode_px(picked[:, :4], grid, match, truth))
        fit = iou(boxes, xywh_to_xyxy(wanted[:, 2:6] * full)).detach()
        return (
            self.coord_scale * self._box(picked[:, :4], grid, match, wanted[:, 2:6], full),
            self._objectness(cells, grid, match, fit, truth),
            self.class_scale * self._classes(picked[:, 5:], wanted[:, 1].long()),
        )

    def decode_px(self, raw: Tensor, grid: Grid, cells: Matches, truth: Truth) -> Tensor:
        """Boxes (M, 4), xywh in input pixels, as Region.decode."""
        cell = torch.stack((cells.column, cells.row), 1)
        stride = truth.full(raw.device)[:2] / raw.new_tensor([grid.columns, grid.rows])
        wh = raw[:, 2:].clamp(max=_LARGEST_LOG).exp() * grid.anchors_px[cells.anchor]
        return torch.cat(((raw[:, :2].sigmoid() + cell) * stride, wh), 1)

    def _box(self, raw: Tensor, grid: Grid, match: Matches, wanted: Tensor, full: Tensor) -> Tensor:
        counts = wanted.new_tensor([grid.columns, grid.rows])
        cell = torch.stack((match.column, match.row), 1)
        share = (wanted[:, :2] * counts - cell).clamp(0, 1)
        least = -torch.xlogy(share, share) - torch.xlogy(1 - share, 1 - share)
        xy = F.binary_cross_entropy_with_logits(raw[:, :2], share, reduction="none") - least
        side_px = wanted[:, 2:].clamp(min=_SMALLEST_SIDE) * full[:2]
        aim = (side_px / grid.anchors_px[match.anchor]).log()
        return xy.sum() + (raw[:, 2:] - aim).square().sum() / 2

    def _classes(self, raw: Tensor, wanted: Tensor) -> Tensor:
        if self.head.softmax:
            return F.cross_entropy(raw, wanted, reduction="sum")
        return (raw - F.one_hot(wanted, self.head.nc)).square().sum() / 2

    def _objectness(
        self, cells: Tensor, grid: Grid, match: Matches, fit: Tensor, truth: Truth
    ) -> Tensor:
        probability = cells[:, :, 4].float().contiguous().sigmoid()  # (B, n, H, W)
        place = flat_place(match, probability)
        aim = torch.zeros_like(probability).view(-1)
        aim.scatter_reduce_(0, place, fit if self.rescore else torch.ones_like(fit), "amax")
        weight = torch.full_like(aim, self.noobject_scale)
        weight[self._ignored(cells, grid, truth)] = 0
        weight[place] = self.object_scale
        return (weight * (probability.reshape(-1) - aim).square()).sum() / 2

    @torch.no_grad()
    def _ignored(self, cells: Tensor, grid: Grid, truth: Truth) -> Tensor:
        """Flat places whose box overlaps a target of its image by more than `thresh`."""
        image, anchor, row, column = (
            torch.ones_like(cells[:, :, 4]).nonzero(as_tuple=True)
            if len(truth.rows) and self.thresh < 1
            else torch.zeros_like(cells[:, :, 4]).nonzero(as_tuple=True)
        )
        every = Matches(image, anchor, row, column, target=image)
        places = flat_place(every, cells[:, :, 4])
        if not len(places):
            return places
        raw = cells[image, anchor, :4, row, column].float()
        boxes = xywh_to_xyxy(self.decode_px(raw, grid, every, truth))
        overlap = iou(boxes[:, None], truth.boxes_px[image])
        return places[overlap.amax(1) > self.thresh]
