"""YOLOv8's loss against a slow one, target by target; and that it teaches."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models import Darknet
from tests.support.dfl_net import NC, raw_heads, two_heads, two_levels
from utils.cfg import CfgError
from utils.detection.boxes import iou
from utils.network.initialize import initialize
from utils.training.losses.dfl_loss import (
    ONE2MANY,
    Anchors,
    DflLoss,
    _inside,
    assign,
    boxes_px,
    flatten_levels,
)
from utils.training.losses.loss import DetectionLoss, total
from utils.training.losses.options import LossOptions
from utils.training.losses.truth import Truth

SIZE = (48, 64)


def some_targets(seed: int, count: int = 9, images: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.rand(count, 6, generator=generator)
    rows[:, 0] = torch.randint(0, images, (count,), generator=generator)
    rows[:, 1] = torch.randint(0, NC, (count,), generator=generator)
    rows[:, 4:] = 0.05 + 0.5 * rows[:, 4:]
    return rows


def slow_loss(raw: list[Tensor], targets: Tensor) -> dict[str, float]:
    """The recipe as it is written down: loops over images, targets and anchors."""
    points = []
    for x, stride in zip(raw, (4.0, 8.0), strict=True):
        points += [
            (j * stride + stride / 2, i * stride + stride / 2, stride)
            for i in range(x.shape[2]) for j in range(x.shape[3])
        ]  # fmt: skip
    cells = torch.cat([x.detach().double().flatten(2).transpose(1, 2) for x in raw], 1)
    bins = torch.arange(16.0, dtype=torch.double)
    box = cls = dfl = weight = 0.0
    for image, rows in enumerate(cells):
        boxes, sides = [], []
        for (x, y, stride), row in zip(points, rows, strict=True):
            log_p = row[:64].view(4, 16).log_softmax(1)
            d = (log_p.exp() @ bins) * stride
            boxes.append([x - d[0], y - d[1], x + d[2], y + d[3]])
            sides.append(log_p)
        claims: dict[int, list[tuple[float, float, int]]] = {}
        own = targets[targets[:, 0] == image].double()
        truth = []
        for number, row in enumerate(own):
            w, h = row[4] * 64, row[5] * 48
            cx, cy = row[2] * 64, row[3] * 48
            wanted = torch.stack((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
            truth.append((wanted, int(row[1])))
            found = []
            for k, (x, y, _) in enumerate(points):
                if abs(x - cx) < max(w, 8) / 2 and abs(y - cy) < max(h, 8) / 2:
                    fit = max(0.0, float(iou(torch.tensor(boxes[k]), wanted, "ciou")))
                    p = 1 / (1 + math.exp(-float(rows[k, 64 + int(row[1])])))
                    found.append((p**0.5 * fit**6, fit, k))
            for t, fit, k in sorted(found, reverse=True)[:10]:
                claims.setdefault(k, []).append((fit, t, number))
        kept = {k: max(c) for k, c in claims.items()}
        for number, (wanted, label) in enumerate(truth):
            mine = {k: c for k, c in kept.items() if c[2] == number}
            most_fit = max((c[0] for c in mine.values()), default=0)
            most_t = max((c[1] for c in mine.values()), default=0)
            for k, (_, t, _) in mine.items():
                aim = t * most_fit / (most_t + 1e-9)
                weight += aim
                fit = float(iou(torch.tensor(boxes[k]), wanted, "ciou"))
                box += aim * (1 - fit)
                cls -= aim * float(rows[k, 64 + label])
                x, y, stride = points[k]
                distances = [x - wanted[0], y - wanted[1], wanted[2] - x, wanted[3] - y]
                for side, distance in enumerate(distances):
                    q = min(max(float(distance) / stride, 0), 14.99)
                    low = math.floor(q)
                    p_low, p_high = float(sides[k][side, low]), float(sides[k][side, low + 1])
                    dfl -= aim * (p_low * (low + 1 - q) + p_high * (q - low)) / 4
        cls += float(F.softplus(rows[:, 64:]).sum())
    share = max(1.0, weight)
    return {"box": 7.5 * box / share, "cls": 0.5 * cls / share, "dfl": 1.5 * dfl / share}


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_slow_loss(seed: int) -> None:
    raw, targets = raw_heads(seed), some_targets(seed)
    found = DetectionLoss(two_heads())(raw, targets, SIZE)
    wanted = slow_loss(raw, targets)
    assert {k: float(v.detach()) for k, v in found.items()} == pytest.approx(wanted, rel=1e-4)
    moved = targets.clone()
    moved[:, 2:4] = moved[:, 2:4] * 0.8
    assert slow_loss(raw, moved)["box"] != pytest.approx(wanted["box"], rel=1e-3)


def test_images_without_targets_and_batches_without_any() -> None:
    raw = raw_heads(0)
    for targets in (some_targets(0)[:1], torch.zeros(0, 6)):
        losses = DetectionLoss(two_heads())(raw, targets, SIZE)
        assert all(bool(value.isfinite()) for value in losses.values())
        total(losses).backward()
    assert all(bool(x.grad is not None and x.grad.isfinite().all()) for x in raw)
    assert float(DetectionLoss(two_heads())(raw, torch.zeros(0, 6), SIZE)["box"].detach()) == 0


def assigned(targets: Tensor, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    raw = raw_heads(seed)
    cells = flatten_levels(raw)
    anchors = Anchors.of(raw, SIZE)
    distances = cells[..., :64].unflatten(2, (4, 16)).softmax(3) @ torch.arange(16.0)
    boxes = boxes_px(distances, anchors.centres_px, anchors.strides_px)
    truth = Truth.of_batch(targets, 2, SIZE)
    found = assign(boxes, cells[..., 64:].sigmoid(), anchors, truth)
    return found.cell, found.target, found.aim


def test_assignment_rules() -> None:
    targets = some_targets(3, count=30)
    cell, target, aim = assigned(targets)
    assert len(cell.unique()) == len(cell)  # an anchor answers for one target
    assert int(target.bincount().max()) <= ONE2MANY.keeps
    assert bool((cell // 240 == targets[target, 0].long()).all())
    assert bool(((aim >= 0) & (aim <= 1)).all())


def test_tiny_targets_find_anchors() -> None:
    """A target smaller than a cell lies between all centres, and is taken as two cells large."""
    anchors, corners = Anchors.of(raw_heads(0), SIZE), torch.tensor([[15.7, 11.8, 16.3, 12.2]])
    assert _inside(corners, anchors).sum() >= 4
    inside = (anchors.centres_px > corners[0, :2]) & (anchors.centres_px < corners[0, 2:])
    assert not inside.all(1).any()


def test_order_of_targets_does_not_matter() -> None:
    raw, targets = raw_heads(5), some_targets(5, count=20)
    loss = DetectionLoss(two_heads())
    first = loss(raw, targets, SIZE)
    second = loss(raw, targets.flip(0), SIZE)
    assert all(torch.allclose(first[k], second[k], rtol=1e-5) for k in first)


def test_gains_are_factors() -> None:
    raw, targets = raw_heads(1), some_targets(1)
    plain = DetectionLoss(two_heads())(raw, targets, SIZE)
    other = DetectionLoss(two_heads(), LossOptions(box=15.0, classes=0.25))(raw, targets, SIZE)
    assert torch.allclose(other["box"], 2 * plain["box"])
    assert torch.allclose(other["cls"], plain["cls"] / 2)
    assert torch.equal(other["dfl"], plain["dfl"])


def test_heads_that_do_not_belong_together() -> None:
    a, b = two_heads()
    b.nc = 4
    with pytest.raises(CfgError, match="same classes"):
        DflLoss([a, b], LossOptions())


def test_a_few_steps_learn_one_picture() -> None:
    """From random weights, the box of the only object is found."""
    torch.manual_seed(0)
    model = Darknet(two_levels())
    initialize(model.layers, model.heads)
    loss = DetectionLoss(model.heads)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    picture = torch.full((1, 3, *SIZE), 0.2)
    picture[..., 12:36, 16:40] = 0.9
    targets = torch.tensor([[0.0, 1, 28 / 64, 0.5, 24 / 64, 0.5]])
    first = None
    for _ in range(60):
        value = total(loss(model(picture), targets, SIZE))
        first = first or float(value.detach())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert float(value.detach()) < first / 3
    raw = zip(model.heads, model(picture), strict=True)
    rows = torch.cat([head.decode(values, SIZE) for head, values in raw], 1)
    best = rows[0, rows[0, :, 6].argmax()]
    corners = torch.cat((best[:2] - best[2:4] / 2, best[:2] + best[2:4] / 2))
    assert iou(corners, torch.tensor([16.0, 12, 40, 36])) > 0.7
    assert best[6] > 0.5 and best[5] < 0.3 and best[7] < 0.3
