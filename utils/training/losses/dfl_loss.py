"""The loss of YOLOv8's heads: task-aligned assignment, CIoU, distributions of sides, classes.

All levels are one set of anchors, the cells' centres. A target's candidates are the anchors inside
it; of these it takes the ten with the highest alignment p^.5 CIoU^6 of its class's probability and
the predicted box (Feng et al., TOOD, arXiv:2108.07755). An anchor that several targets ask for goes
to the one it overlaps best. A positive's class aims at its alignment, scaled so that a target's
best anchor aims at its best CIoU; that aim also weighs its box. Sides are learnt as expectations
of distributions over whole cells, by cross-entropy of the two nearest (Li et al., Generalized
Focal Loss, arXiv:2006.04388). Heads of YOLO26 have no distributions (`reg_max` 1): their sides
learn by the absolute difference, as a share of the input. Heads that need no NMS (one2one) have one
positive per target, as in YOLOv10 (arXiv:2405.14458), and so learn to answer once: of seven asked
for, the best aligned that a target is given. Two sets of heads: two_sets.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ...detection.boxes import iou, xywh_to_xyxy
from ...network.layers import Dfl
from ...network.layers.heads import cell_corners
from ..optimization.ranks import Ranks
from .options import DFL_GAINS, LossOptions
from .truth import Truth


@dataclass(frozen=True)
class Takes:
    """How many anchors a target asks for, and how many of those that it gets it keeps."""

    asks: int
    keeps: int


ONE2MANY, ONE2ONE = Takes(10, 10), Takes(7, 1)
CLASS_POWER, OVERLAP_POWER = 0.5, 6.0
_SMALLEST_IN_CELLS = 2.0  # targets with shorter sides are looked for in a box of this size
_MARGIN = 0.01  # a side keeps so far from the last bin, in cells
_EPS = 1e-9


@dataclass(frozen=True)
class Anchors:
    """The cells of all levels, in the order of `flatten_levels`."""

    centres_px: Tensor  # (A, 2)
    strides_px: Tensor  # (A, 1)

    @staticmethod
    def of(raw: Sequence[Tensor], img_hw: tuple[int, int]) -> Anchors:
        """Of raw heads (B, entries, H, W)."""
        centres, strides = [], []
        for x in raw:
            rows, columns = x.shape[2:]
            cells = cell_corners(rows, columns, x.new_zeros(0, dtype=torch.float32)) + 0.5
            stride = img_hw[1] / columns
            centres.append(cells.flatten(1).T * stride)
            strides.append(torch.full_like(centres[-1][:, :1], stride))
        return Anchors(torch.cat(centres), torch.cat(strides))


@dataclass(frozen=True)
class Positives:
    """The M anchors that answer for a target, and the aim (0..1) of each."""

    cell: Tensor  # image * A + anchor
    anchor: Tensor
    target: Tensor  # row of the targets
    aim: Tensor


class DflLoss:
    """Callable: raw heads and targets -> {"box", "cls", "dfl"}, weighted scalars."""

    def __init__(
        self, heads: Sequence[Dfl], options: LossOptions, ranks: Ranks | None = None
    ) -> None:
        """`box` and `classes` of the options are the factors of boxes and classes."""
        self._ranks = ranks or Ranks()
        self.reg_max, self.nc = heads[0].reg_max, heads[0].nc
        for head in heads:
            if (head.reg_max, head.nc) != (self.reg_max, self.nc):
                raise head.error("all dfl heads need the same classes and bins")
            if head.one2one != heads[0].one2one:
                raise head.error("of one set of heads, all need NMS or none")
        self._takes = ONE2ONE if heads[0].one2one else ONE2MANY
        self.gains = {
            "box": DFL_GAINS["box"] if options.box is None else options.box,
            "cls": DFL_GAINS["classes"] if options.classes is None else options.classes,
            "dfl": DFL_GAINS["dfl"],
        }

    def at(self, done: float) -> DflLoss:
        """The same at any point of a training."""
        return self

    def __call__(self, raw: Sequence[Tensor], truth: Truth) -> dict[str, Tensor]:
        """`raw`: (B, 4 * reg_max + nc, H, W) per level."""
        cells = flatten_levels(raw)  # (B, A, entries)
        bins, logits = torch.split(cells, [4 * self.reg_max, self.nc], 2)
        anchors = Anchors.of(raw, truth.img_hw)
        with torch.no_grad():
            distances = self._distances(self._per_side(bins))
            boxes = boxes_px(distances, anchors.centres_px, anchors.strides_px)
            found = assign(boxes, logits.sigmoid(), anchors, truth, self._takes)
            if truth.sure is not None:
                found = replace(found, aim=found.aim * truth.sure[found.target])
        # The mean of the ranks' gradients is to be that of all images over the sum of all aims.
        share = max(self._ranks.mean(float(found.aim.sum())), 1 / self._ranks.world)
        picked = self._per_side(bins.flatten(0, 1)[found.cell])  # (M, 4, reg_max)
        box, spread = self._sides(picked, found, anchors, truth)
        positive = logits.flatten(0, 1)[found.cell, truth.rows[found.target, 1].long()]
        # Cross-entropy is softplus(logit) - aim * logit, and all aims but the positives' are 0.
        classes = F.softplus(logits).sum() - (found.aim * positive).sum()
        sums = {"box": box, "cls": classes, "dfl": spread}
        return {name: self.gains[name] * value / share for name, value in sums.items()}

    def _sides(
        self, bins: Tensor, found: Positives, anchors: Anchors, truth: Truth
    ) -> tuple[Tensor, Tensor]:
        """Sums over the positives: 1 - CIoU, and what the four sides are off by."""
        centres, strides = anchors.centres_px[found.anchor], anchors.strides_px[found.anchor]
        distances = self._distances(bins)
        predicted = boxes_px(distances, centres, strides)
        wanted = xywh_to_xyxy(truth.rows[found.target, 2:6] * truth.full(bins.device))
        box = (found.aim * (1 - iou(predicted, wanted, "ciou"))).sum()
        sides = torch.cat((centres - wanted[:, :2], wanted[:, 2:] - centres), 1) / strides
        if self.reg_max == 1:
            off = (distances - sides).abs() * strides / truth.full(bins.device)
        else:
            off = self._entropy(bins, sides)
        return box, (found.aim * off.mean(1)).sum()

    def _entropy(self, bins: Tensor, sides: Tensor) -> Tensor:
        """Cross-entropy of bins (M, 4, reg_max) with sides (M, 4) in cells."""
        log_p = bins.log_softmax(2)
        sides = sides.clamp(0, self.reg_max - 1 - _MARGIN)
        low = sides.floor()
        at_low = log_p.gather(2, low.long()[..., None])[..., 0]
        at_high = log_p.gather(2, low.long()[..., None] + 1)[..., 0]
        return -(at_low * (low + 1 - sides) + at_high * (sides - low))

    def _per_side(self, bins: Tensor) -> Tensor:
        """(..., 4 * reg_max) -> (..., 4, reg_max)."""
        return bins.reshape(*bins.shape[:-1], 4, self.reg_max)

    def _distances(self, bins: Tensor) -> Tensor:
        """Logits (..., 4, reg_max) -> (..., 4): the expectations, in cells; of one bin itself."""
        if self.reg_max == 1:
            return bins[..., 0]
        return bins.softmax(-1) @ torch.arange(self.reg_max, dtype=bins.dtype, device=bins.device)


def flatten_levels(raw: Sequence[Tensor]) -> Tensor:
    """(B, entries, H, W) per level -> float32 (B, A, entries): level by level, row by row."""
    return torch.cat([x.flatten(2).transpose(1, 2).float() for x in raw], 1)


def boxes_px(distances: Tensor, centres_px: Tensor, strides_px: Tensor) -> Tensor:
    """Left, top, right, bottom (..., 4) in cells, around centres (..., 2) -> xyxy in pixels."""
    sides = distances * strides_px
    return torch.cat((centres_px - sides[..., :2], centres_px + sides[..., 2:]), -1)


@torch.no_grad()
def assign(
    boxes: Tensor,
    probabilities: Tensor,
    anchors: Anchors,
    truth: Truth,
    takes: Takes = ONE2MANY,
) -> Positives:
    """The positives for predicted boxes (B, A, 4), xyxy in pixels, and classes (B, A, nc)."""
    count = boxes.shape[1]
    wanted = xywh_to_xyxy(truth.rows[:, 2:6] * truth.full(boxes.device))  # (T, 4)
    target, anchor = _inside(wanted, anchors).nonzero(as_tuple=True)  # candidates (P,)
    cell = truth.rows[target, 0].long() * count + anchor
    overlap = iou(boxes.flatten(0, 1)[cell], wanted[target], "ciou").clamp(min=0)
    p = probabilities.flatten(0, 1)[cell, truth.rows[target, 1].long()]
    alignment = p.pow(CLASS_POWER) * overlap.pow(OVERLAP_POWER)
    best = _granted(target, cell, alignment, overlap, takes)
    target, cell, alignment, overlap = target[best], cell[best], alignment[best], overlap[best]
    most = alignment.new_zeros(2, len(wanted))
    most[0].scatter_reduce_(0, target, alignment, "amax")
    most[1].scatter_reduce_(0, target, overlap, "amax")
    aim = alignment * most[1][target] / (most[0][target] + _EPS)
    return Positives(cell, anchor[best], target, aim)


def _granted(
    target: Tensor, cell: Tensor, alignment: Tensor, overlap: Tensor, takes: Takes
) -> Tensor:
    """Which of the candidates (P,) become positives.

    An anchor that several targets ask for goes to the one it overlaps best, of all that it lies
    in: one that did not ask for it may get it, too.
    """
    asked = torch.zeros_like(cell, dtype=torch.bool)
    asked[_first_of_each(target, alignment, takes.asks)] = True
    asked &= alignment > 0  # an anchor that aims at nothing contends for nothing
    _, place = cell.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    wanted = torch.bincount(place[asked], minlength=len(cell))[place]
    closest = torch.zeros_like(asked)
    closest[_first_of_each(cell, overlap, 1)] = True
    best = torch.where(wanted > 1, closest, asked).nonzero()[:, 0]
    if takes.keeps < takes.asks:
        best = best[_first_of_each(target[best], alignment[best], takes.keeps)]
    return best


def _inside(wanted: Tensor, anchors: Anchors) -> Tensor:
    """(T, A): whether an anchor lies in a target (T, 4), xyxy; short sides are lengthened."""
    least = _SMALLEST_IN_CELLS * anchors.strides_px.min()
    half = ((wanted[:, 2:] - wanted[:, :2]).clamp(min=least) / 2)[..., None]  # (T, 2, 1)
    middle = ((wanted[:, 2:] + wanted[:, :2]) / 2)[..., None]
    away = [(anchors.centres_px[:, k] - middle[:, k]).abs() < half[:, k] for k in (0, 1)]
    return away[0] & away[1]


def _first_of_each(group: Tensor, value: Tensor, count: int) -> Tensor:
    """Positions of the `count` members of each group (P,) with the highest values (P,)."""
    order = value.argsort(descending=True, stable=True)
    order = order[group[order].argsort(stable=True)]
    sorted_group = group[order]
    starts = torch.ones_like(sorted_group, dtype=torch.bool)
    starts[1:] = sorted_group[1:] != sorted_group[:-1]
    places = torch.arange(len(order), device=order.device)
    first = torch.where(starts, places, 0).cummax(0).values
    return order[places - first < count]
