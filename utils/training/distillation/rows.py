"""The two strategies of the known pruning suite: `--distill 1` and `2`, cell by cell.

With its factors (temperature T = 3, B images):

    1: 0.001 T^2 / B * sum over all rows of KL(teacher, student) of all entries of a row
    2: 0.0001 T^2 / B * sum over all cells and anchors of KL over objectness and classes, and
       0.001 * sum of d over the assigned boxes whose d exceeds the teacher's; d is the squared
       distance of x, y, w, h to the target, in cells
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...network.layers import Yolo
from ..losses.assign import Grid, Matches, assign, reach_of
from ..losses.box_loss import decode_px, grid_of
from .features import divergence

# Heads by their `loss_kind` that are compared so.
CELL_BY_CELL = ("yolo",)

_ROWS_FACTOR = 0.001
_CLASS_FACTOR = 0.0001
_BOX_FACTOR = 0.001

YoloPair = tuple[Yolo, Tensor, Tensor]  # a head, the student's raw value of it, the teacher's


def rows_loss(pairs: Sequence[YoloPair], temperature: float) -> Tensor:
    """Strategy 1."""
    return _ROWS_FACTOR * temperature**2 * _divergences(pairs, temperature, _entries)


def boxes_and_classes_loss(
    pairs: Sequence[YoloPair],
    targets: Tensor,
    img_hw: tuple[int, int],
    iou_t: float,
    temperature: float,
) -> Tensor:
    """Strategy 2; targets (T, 6) as the loss has them, which `iou_t` gives to anchors."""
    classes = _CLASS_FACTOR * temperature**2 * _divergences(pairs, temperature, _scores)
    return classes + _boxes(pairs, targets, img_hw, iou_t)


def _divergences(
    pairs: Sequence[YoloPair], temperature: float, numbers: Callable[[Yolo, Tensor], Tensor]
) -> Tensor:
    """Sum over the heads of the mean over the images, of the rows of `numbers` of a raw head."""
    parts = [
        divergence(numbers(head, mine), numbers(head, taught), temperature).sum() / len(mine)
        for head, mine, taught in pairs
    ]
    return torch.stack(parts).sum()


def _entries(head: Yolo, raw: Tensor) -> Tensor:
    """Raw head -> (B, n, H, W, entries)."""
    return head.split(raw).movedim(2, -1)


def _scores(head: Yolo, raw: Tensor) -> Tensor:
    """Raw objectness and classes (B, n, H, W, 1 + nc)."""
    return _entries(head, raw)[..., head.objectness_entry :]


def _boxes(
    pairs: Sequence[YoloPair],
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
