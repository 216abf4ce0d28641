"""The loss of heads without distributions, and of those that answer once."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from models import Darknet
from tests.support.dfl_net import NC, branch
from tests.support.nets import conv, net, section
from utils.cfg import CfgError
from utils.cfg.head_note import HEAD_NOTE, dfl_note
from utils.network.initialize import initialize
from utils.network.layers import Dfl
from utils.training.distillation.response import Pair, response_loss
from utils.training.losses.dfl_loss import (
    ONE2MANY,
    ONE2ONE,
    Anchors,
    assign,
    boxes_px,
    flatten_levels,
)
from utils.training.losses.loss import DetectionLoss, total
from utils.training.losses.options import DFL_GAINS
from utils.training.losses.truth import Truth

SIZE = (48, 64)


def head(level: int, one2one: bool, reg_max: int) -> str:
    note = dfl_note(level, 2, 8 * 2**level, reg_max, NC, one2one)
    classes = section("route", layers=-3) + branch(NC)
    text = f"# darkslim {HEAD_NOTE} {json.dumps(note)}\n"
    return branch(4 * reg_max) + classes + f"[route]\n{text}layers=-4,-1\n\n"


def network(one2one: tuple[bool, bool] = (False, False), reg_max: int = 1) -> Darknet:
    down = section("route", layers=1) + conv(12, stride=2, activation="swish")
    stem = conv(8, stride=2, activation="swish"), conv(12, stride=2, activation="swish")
    first, second = (head(k, flag, reg_max) for k, flag in enumerate(one2one))
    return Darknet(net(*stem, first, down, second, width=SIZE[1], height=SIZE[0]))


def heads(model: Darknet) -> list[Dfl]:
    return [layer for layer in model.heads if isinstance(layer, Dfl)]


def some_targets() -> Tensor:
    return torch.tensor([[0, 1, 0.3, 0.4, 0.3, 0.4], [0, 2, 0.7, 0.6, 0.4, 0.5],
                         [1, 0, 0.5, 0.5, 0.6, 0.3]])  # fmt: skip


def raw_heads(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(2, 4 + NC, 12, 16), (2, 4 + NC, 6, 8)]
    return [(1 + torch.randn(s, generator=generator)).requires_grad_() for s in shapes]


@pytest.mark.parametrize("one2one", [False, True])
def test_sides_are_off_by_a_share_of_the_input(one2one: bool) -> None:
    """Anchor by anchor, for the positives that the assignment names."""
    raw, targets = raw_heads(0), some_targets()
    found = DetectionLoss(heads(network((one2one, one2one))))(raw, targets, SIZE)
    cells, anchors = flatten_levels(raw).detach(), Anchors.of(raw, SIZE)
    truth = Truth.of_batch(targets, 2, SIZE)
    boxes = boxes_px(cells[..., :4], anchors.centres_px, anchors.strides_px)
    match = assign(
        boxes, cells[..., 4:].sigmoid(), anchors, truth, ONE2ONE if one2one else ONE2MANY
    )
    most = int(match.target.bincount().max())
    assert most == 1 if one2one else most > 1
    total_off = 0.0
    for cell, anchor, target, aim in zip(
        match.cell, match.anchor, match.target, match.aim, strict=True
    ):
        _, _, x, y, w, h = targets[target].tolist()
        cx, cy = anchors.centres_px[anchor].tolist()
        stride = float(anchors.strides_px[anchor])
        wanted = [cx - (x - w / 2) * 64, cy - (y - h / 2) * 48]
        wanted += [(x + w / 2) * 64 - cx, (y + h / 2) * 48 - cy]
        sides = (cells.flatten(0, 1)[cell, :4] * stride).tolist()
        pairs = zip(sides, wanted, (64, 48, 64, 48), strict=True)
        total_off += float(aim) * sum(abs(a - b) / full for a, b, full in pairs) / 4
    expected = DFL_GAINS["dfl"] * total_off / max(1.0, float(match.aim.sum()))
    assert float(found["dfl"].detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("one2one", [False, True])
def test_it_teaches(one2one: bool) -> None:
    torch.manual_seed(0)
    model = network((one2one, one2one))
    initialize(model.layers, model.heads)
    images, targets = torch.rand(2, 3, *SIZE), some_targets()
    loss = DetectionLoss(model.heads)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    model.train()
    values = []
    for _ in range(60):
        value = total(loss(model(images), targets, SIZE))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < 0.5 * values[0]


def test_sides_start_with_an_area() -> None:
    model = network()
    initialize(model.layers, model.heads)
    for dfl in heads(model):
        bias = model.layers[dfl.sources[0]].conv.bias
        assert (bias == 2).all()


def test_both_kinds_together_are_refused() -> None:
    with pytest.raises(CfgError, match="of one set of heads"):
        DetectionLoss(network((False, True)).heads)


def test_a_teacher_of_plain_sides() -> None:
    """No difference, no loss; a side that is off costs, where the teacher sees something."""
    dfl = heads(network())
    taught = [x.detach() for x in raw_heads(1)]
    same = [x.clone() for x in taught]
    moved = [x.clone() for x in taught]
    moved[0][:, 0] += 1
    pairs = [
        [Pair(h, mine, h, aim) for h, mine, aim in zip(dfl, raw, taught, strict=True)]
        for raw in (same, moved)
    ]
    equal, apart = (float(response_loss(p, SIZE)) for p in pairs)
    assert equal == pytest.approx(0, abs=1e-5) and apart > 0.01
