"""Which anchors of which cells answer for a target; vectorised over targets, images and anchors.

An anchor takes a target when the IoU of their sizes alone exceeds a threshold; the best of all
heads' anchors always does. The cell is the one that holds the target's centre. A neighbouring cell
answers too where the head's decoding can place a centre outside its own cell (scale_x_y > 1) and
the target's lies within that reach. So every positive can be predicted exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...detection.boxes import wh_iou

# Neighbours of a cell: (column, row) steps; the first is the cell itself.
_STEPS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
_LONGEST_REACH = 0.5  # beyond half a cell a second neighbour would be as near as the first


@dataclass(frozen=True)
class Grid:
    """One head, as the assignment sees it.

    anchors_px (n, 2): width, height in network pixels; reach: how far outside its cell a centre
    can be decoded, in cells; shift: where the point that is decoded lies, in sizes of the box to
    the left of and above the centre (yolo_point).
    """

    rows: int
    columns: int
    anchors_px: Tensor
    reach: float
    shift: float = 0.0


@dataclass(frozen=True)
class Matches:
    """The M positives of one head: int64 vectors (M,) of equal length."""

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    target: Tensor  # row of the targets


def reach_of(scale_x_y: float) -> float:
    """How far outside its cell a head can put a centre, in cells: sigmoid * s - (s - 1) / 2."""
    return min(max(0.0, (scale_x_y - 1) / 2), _LONGEST_REACH)


@torch.no_grad()
def assign(
    targets: Tensor,
    grids: Sequence[Grid],
    img_hw: tuple[int, int],
    iou_t: float | Sequence[float],
) -> list[Matches]:
    """Positives of each head for targets (T, 6): image, class, xc, yc, w, h (0..1 of the input).

    `iou_t`: the threshold of all heads, or of each.
    """
    size_px = targets[:, 4:6] * targets.new_tensor([img_hw[1], img_hw[0]])  # (T, 2)
    ious = wh_iou(torch.cat([grid.anchors_px for grid in grids]), size_px)  # (all anchors, T)
    of_heads = [iou_t] * len(grids) if isinstance(iou_t, float) else iou_t
    each = [t for t, grid in zip(of_heads, grids, strict=True) for _ in range(len(grid.anchors_px))]
    matched = ious > ious.new_tensor(each)[:, None]
    matched.scatter_(0, ious.argmax(0, keepdim=True), True)
    parts = torch.split(matched, [len(grid.anchors_px) for grid in grids])
    return [_cells(part, targets, grid) for part, grid in zip(parts, grids, strict=True)]


def _cells(matched: Tensor, targets: Tensor, grid: Grid) -> Matches:
    """The cells that answer, for `matched` (n, T): anchor takes target."""
    anchor, target = matched.nonzero(as_tuple=True)  # (P,)
    last = targets.new_tensor([grid.columns - 1, grid.rows - 1])
    point = targets[target, 2:4] - grid.shift * targets[target, 4:6]
    centre = point * (last + 1)  # (P, 2) in cells
    # A centre on the right or lower edge of the picture belongs to the last cell.
    home = centre.floor().clamp(min=0).minimum(last)
    if grid.reach > 0:
        steps = targets.new_tensor(_STEPS)[:, None]  # (5, 1, 2)
        cell = home + steps  # (5, P, 2)
        inside = ((cell >= 0) & (cell <= last)).all(-1)
        # How far the centre lies outside the cell, along the axis of the step.
        outside = ((centre - cell - 0.5).abs() - 0.5).amax(-1)
        answers = inside & (outside < grid.reach)
        answers[0] = True
        step, pair = answers.nonzero(as_tuple=True)
        anchor, target, home = anchor[pair], target[pair], cell[step, pair]
    column, row = home.long().unbind(-1)
    return Matches(targets[target, 0].long(), anchor, row, column, target)


def flat_place(cells: Matches, like: Tensor) -> Tensor:
    """Places (M,) of the cells in a flattened (B, n, H, W), the shape of `like`."""
    _, n, rows, columns = like.shape
    return ((cells.image * n + cells.anchor) * rows + cells.row) * columns + cells.column
