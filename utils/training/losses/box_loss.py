"""How far the boxes of positives are from their targets: IoU losses, Darknet's old one, likelihood.

All rows are positives: raw (M, 4) or, of a [Gaussian_yolo] head, (M, 8).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ...detection.boxes import iou, xywh_to_xyxy
from ...detection.options import IouKind
from ...network.layers import Yolo
from .assign import Grid, Matches
from .head_rules import HeadRules

# Wider than any box; keeps a stray logit of an untrained network from overflowing.
_LARGEST_LOG = math.log(1e4)
_SMALLEST_SIDE = 1e-6  # of the input; a target without an area has no logarithm
# Of [Gaussian_yolo]: keeps the density of a certain prediction finite, and an outlier from ruling.
_SIGMA_FLOOR = 0.3
_DENSITY_EPS = 1e-9


def grid_of(head: Yolo, raw: Tensor, reach: float) -> Grid:
    """The head of this raw value (B, C, H, W), as the assignment sees it."""
    anchors_px = torch.tensor(head.anchors_px, device=raw.device)
    return Grid(raw.shape[2], raw.shape[3], anchors_px, reach, head.shift)


def decode_px(
    head: Yolo, grid: Grid, raw: Tensor, cells: Matches, img_hw: tuple[int, int]
) -> Tensor:
    """Boxes (M, 4), xywh in input pixels, of the raw rows (M, 4) at `cells`, as Yolo.decode."""
    cell = torch.stack((cells.column, cells.row), 1)
    stride = raw.new_tensor([img_hw[1] / grid.columns, img_hw[0] / grid.rows])
    wh = 4 * raw[:, 2:].square() if head.new_coords else raw[:, 2:].clamp(max=_LARGEST_LOG).exp()
    wh = wh * grid.anchors_px[cells.anchor]
    return torch.cat(((_in_cell(head, raw) + cell) * stride + grid.shift * wh, wh), 1)


def box_loss(
    head: Yolo,
    rules: HeadRules,
    grid: Grid,
    rows: Tensor,
    cells: Matches,
    wanted: Tensor,
    img_hw: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Sum of the positives' weighted losses, and how well each fits now (M,), without a gradient.

    `rows` (M, entries), `wanted` (M, 4) xywh of the input. The fit is the IoU of the box's loss.
    """
    raw = rows[:, head.box_entries]
    kind: IouKind = "iou" if rules.box_loss == "mse" else rules.box_loss
    full = raw.new_tensor([img_hw[1], img_hw[0], img_hw[1], img_hw[0]])
    fit = iou(
        xywh_to_xyxy(decode_px(head, grid, raw, cells, img_hw)), xywh_to_xyxy(wanted * full), kind
    )
    part = raw.new_zeros(())
    if head.spread_entries is not None:
        # With an IoU for the box itself, the likelihood trains the uncertainties alone.
        centres = raw if rules.box_loss == "mse" else raw.detach()
        factor = rules.box if rules.box_loss == "mse" else rules.uncertainty
        aims = _aims(head, grid, cells, wanted, img_hw)
        part = factor * _surprise(head, centres, rows[:, head.spread_entries], aims, wanted)
    elif rules.box_loss == "mse":
        part = rules.box * _squares(head, raw, _aims(head, grid, cells, wanted, img_hw), wanted)
    if rules.box_loss == "mse":
        return part, fit.detach()
    if rules.as_darknet:
        pull = _darknet_gradient(head, rules, grid, raw, cells, wanted, img_hw)
        # The value of the loss, with that gradient.
        value = rules.box * (1 - fit).sum().detach()
        return part + value + (pull * (raw - raw.detach())).sum(), fit.detach()
    return part + rules.box * (1 - fit).sum(), fit.detach()


def _in_cell(head: Yolo, raw: Tensor) -> Tensor:
    """Centres (M, 2) from the corner of their cell, in cells."""
    xy = raw[:, :2] if head.new_coords else raw[:, :2].sigmoid()
    return xy * head.scale_x_y - 0.5 * (head.scale_x_y - 1)


def _aims(
    head: Yolo, grid: Grid, cells: Matches, wanted: Tensor, img_hw: tuple[int, int]
) -> Tensor:
    """What `_in_cell` and the raw width and height should be (M, 4)."""
    counts = wanted.new_tensor([grid.columns, grid.rows])
    side = wanted[:, 2:].clamp(min=_SMALLEST_SIDE)
    xy = (wanted[:, :2] - grid.shift * side) * counts - torch.stack((cells.column, cells.row), 1)
    full = wanted.new_tensor([img_hw[1], img_hw[0]])
    ratio = side * full / grid.anchors_px[cells.anchor]
    return torch.cat((xy, (ratio / 4).sqrt() if head.new_coords else ratio.log()), 1)


def _size_weight(wanted: Tensor) -> Tensor:
    """Darknet's 2 - w h (M, 1): a pixel matters more to a small box."""
    return 2 - wanted[:, 2:3] * wanted[:, 3:4]


def _squares(head: Yolo, raw: Tensor, aims: Tensor, wanted: Tensor) -> Tensor:
    """Darknet's iou_loss=mse, as the function of which its deltas are the gradient; 0 at best."""
    if head.new_coords:
        off = (torch.cat((_in_cell(head, raw), raw[:, 2:]), 1) - aims).square() / 2
        return (_size_weight(wanted) * off).sum()
    s = head.scale_x_y
    share = ((aims[:, :2] + 0.5 * (s - 1)) / s).clamp(0, 1)
    least = -torch.xlogy(share, share) - torch.xlogy(1 - share, 1 - share)
    # d/dt of s * cross-entropy(logistic(t), share) is the difference of the centres.
    xy = s * (F.binary_cross_entropy_with_logits(raw[:, :2], share, reduction="none") - least)
    wh = (raw[:, 2:] - aims[:, 2:]).square() / 2
    return (_size_weight(wanted) * torch.cat((xy, wh), 1)).sum()


def _surprise(head: Yolo, raw: Tensor, spread: Tensor, aims: Tensor, wanted: Tensor) -> Tensor:
    """Negative log likelihood of the targets under the predicted Gaussians; 0 at best.

    Gaussian YOLOv3 (Choi et al., ICCV 2019, arXiv:1904.04620, eq. 5-6): half of -log(density + eps)
    per coordinate, times 2 - w h; the deviation is the logistic of `spread` (M, 4), and the
    density's factor has a floor, as in the authors' code.
    """
    mean = torch.cat((_in_cell(head, raw), raw[:, 2:]), 1)
    sigma = spread.sigmoid().clamp(min=1e-4)
    log_density = -((aims - mean) / sigma).square() / 2
    log_density = log_density - (sigma + _SIGMA_FLOOR).log() - math.log(2 * math.pi) / 2
    eps = log_density.new_tensor(math.log(_DENSITY_EPS))
    best = -math.log(_SIGMA_FLOOR) - math.log(2 * math.pi) / 2
    return (_size_weight(wanted) * (best - torch.logaddexp(log_density, eps)) / 2).sum()


def _darknet_gradient(
    head: Yolo,
    rules: HeadRules,
    grid: Grid,
    raw: Tensor,
    cells: Matches,
    wanted: Tensor,
    img_hw: tuple[int, int],
) -> Tensor:
    """The gradient (M, 4) that Darknet takes for 1 - IoU, for which iou_normalizer is made.

    It is that by the centre in shares of the input, as if the raw number were the centre, and that
    by width and height times exp(raw) (new_coords: as if the raw number were the side).
    """
    assert rules.box_loss != "mse"
    full = raw.new_tensor([img_hw[1], img_hw[0], img_hw[1], img_hw[0]])
    with torch.enable_grad():
        leaf = raw.detach().requires_grad_()
        size = leaf[:, 2:] if head.new_coords else leaf[:, 2:].clamp(max=_LARGEST_LOG).exp()
        stand_in = torch.cat((leaf[:, :2], size), 1)
        now = decode_px(head, grid, raw.detach(), cells, img_hw) / full
        box = now + stand_in - stand_in.detach()
        lost = 1 - iou(xywh_to_xyxy(box), xywh_to_xyxy(wanted), rules.box_loss)
        gradient = torch.autograd.grad(lost.sum(), leaf)[0]
    return (rules.box * gradient).clamp(-rules.max_delta, rules.max_delta)
