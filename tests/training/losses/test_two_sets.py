"""Two sets of heads learn from the same targets; which anchors each target is given."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models import Darknet
from tests.support.two_sets import HEIGHT_WIDTH, two_sets
from utils.cfg import CfgError
from utils.network.layers import Dfl
from utils.training.losses.dfl_loss import ONE2MANY, ONE2ONE, Anchors, DflLoss, Takes, assign
from utils.training.losses.loss import DetectionLoss
from utils.training.losses.options import LossOptions
from utils.training.losses.truth import Truth
from utils.training.losses.two_sets import TwoSetsLoss


def heads(model: Darknet) -> list[Dfl]:
    return [head for head in model.heads if isinstance(head, Dfl)]


def raw_of(model: Darknet, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [1 + torch.randn(2, *head.shape, generator=generator) for head in model.heads]


def targets() -> Tensor:
    return torch.tensor([[0, 1, 0.3, 0.4, 0.3, 0.4], [0, 2, 0.7, 0.6, 0.4, 0.5],
                         [1, 0, 0.5, 0.5, 0.6, 0.3]])  # fmt: skip


@pytest.mark.parametrize("reg_max", [1, 16])
def test_the_weights_go_from_one_set_to_the_other(reg_max: int) -> None:
    """.8 to .1 for those that only train, in the first epoch and the last; outside, half each."""
    model = Darknet(two_sets(reg_max))
    raw, own = raw_of(model), heads(model)
    many = DetectionLoss(own[:2])(raw[:2], targets(), HEIGHT_WIDTH)
    one = DetectionLoss(own[2:])(raw[2:], targets(), HEIGHT_WIDTH)
    assert all(float((many[k] - one[k]).abs()) > 1e-3 for k in many)
    loss = DetectionLoss(own)
    for point, share in ((None, 0.5), (0.0, 0.8), (0.5, 0.45), (1.0, 0.1)):
        found = (loss if point is None else loss.at(point))(raw, targets(), HEIGHT_WIDTH)
        for name in ("box", "cls", "dfl"):
            wanted = share * many[name] + (1 - share) * one[name]
            assert torch.allclose(found[name], wanted, rtol=1e-5)
    assert isinstance(loss.joint, TwoSetsLoss)  # asking for a point changed nothing


def test_one_set_is_the_same_at_any_point() -> None:
    model = Darknet(two_sets(sets=("one",)))
    raw, loss = raw_of(model), DetectionLoss(model.heads)
    first, last = (loss.at(point)(raw, targets(), HEIGHT_WIDTH) for point in (0.0, 1.0))
    assert all(torch.equal(first[k], last[k]) for k in first)


def test_sets_that_are_mixed_up() -> None:
    model = Darknet(two_sets())
    first = heads(model)[0]
    first.one2one = True
    with pytest.raises(CfgError, match="of one set of heads"):
        DflLoss(heads(model)[:2], LossOptions())


def given(boxes_px: list[list[float]], scores: list[float], takes: Takes) -> dict[int, list[int]]:
    """Target -> its anchors, of a row of cells of 8 px whose boxes and probabilities are these.

    Target 0 spans the first 4 cells, target 1 all 6; both are 8 px high.
    """
    count = len(boxes_px)
    centres = torch.tensor([[8.0 * k + 4, 4.0] for k in range(count)])
    anchors = Anchors(centres, torch.full((count, 1), 8.0))
    rows = torch.tensor([[0, 0, 16 / 48, 0.5, 32 / 48, 1.0], [0, 0, 0.5, 0.5, 1.0, 1.0]])
    truth = Truth.of_batch(rows, 1, (8, 48))
    table = torch.tensor(boxes_px)[None]
    probabilities = torch.tensor(scores).view(1, -1, 1)
    found = assign(table, probabilities, anchors, truth, takes)
    return {t: sorted(found.anchor[found.target == t].tolist()) for t in (0, 1)}


SHORT, LONG, NEITHER = [0.0, 0, 32, 8], [0.0, 0, 48, 8], [0.0, 0, 6, 8]


def test_an_object_that_loses_its_best_anchor_gets_its_next() -> None:
    """Anchor 1 fits target 1 best and is the surest for target 0, too: 0 then takes anchor 2."""
    boxes = [NEITHER, LONG, SHORT, NEITHER, NEITHER, NEITHER]
    scores = [0.01, 1.0, 0.01, 0.01, 0.01, 0.01]
    assert given(boxes, scores, ONE2ONE) == {0: [2], 1: [1]}
    # Asking for one alone, target 0 is left without where both want the same.
    sure = [0.01, 1.0, 1e-6, 0.01, 0.01, 0.01]
    assert given(boxes, sure, Takes(1, 1)) == {0: [], 1: [1]}
    assert given(boxes, sure, ONE2ONE) == {0: [2], 1: [1]}


def test_one_answers_where_many_would() -> None:
    boxes = [SHORT, SHORT, SHORT, LONG, LONG, LONG]
    scores = [0.3, 0.9, 0.2, 0.4, 0.8, 0.5]
    assert given(boxes, scores, ONE2MANY) == {0: [0, 1, 2], 1: [3, 4, 5]}
    assert given(boxes, scores, ONE2ONE) == {0: [1], 1: [4]}


def owners(targets_px: list[list[float]], p: list[list[float]]) -> dict[int, int]:
    """Anchor -> its target, of a row of four cells of 8 px.

    Targets (left, right), each of a class of its own; probabilities of these classes per anchor.
    Each target asks for one anchor.
    """
    centres = torch.tensor([[8.0 * k + 4, 4.0] for k in range(4)])
    anchors = Anchors(centres, torch.full((4, 1), 8.0))
    rows = [[0, k, (a + b) / 64, 0.5, (b - a) / 32, 1] for k, (a, b) in enumerate(targets_px)]
    boxes = torch.tensor([[[0.0, 0, 29, 8], [0, 0, 16, 8], [0, 0, 28, 8], [0, 0, 16, 8]]])
    truth = Truth.of_batch(torch.tensor(rows), 1, (8, 32))
    found = assign(boxes, torch.tensor([p]), anchors, truth, Takes(1, 1))
    return dict(zip(found.anchor.tolist(), found.target.tolist(), strict=True))


WIDE, LESS, TINY = [0, 32], [0, 28.8], [2, 6]
SURE, SMALL = 0.9, 1e-9


def test_a_contended_anchor_goes_to_the_closest_even_if_that_did_not_ask() -> None:
    """Two ask for anchor 0; the third target, which it fits best, has asked for anchor 2."""
    p = [[SURE, SURE, SMALL], [SMALL] * 3, [0.01, 0.01, SURE], [SMALL] * 3]
    assert owners([WIDE, WIDE, LESS], p) == {0: 2, 2: 2}
    assert owners([WIDE, LESS], [[row[0], row[2]] for row in p]) == {0: 0, 2: 1}


def test_an_anchor_without_overlap_contends_for_nothing() -> None:
    """The tiny target lies around anchor 0, whose box does not fit it at all."""
    p = [[SURE, SURE, SMALL], [SMALL] * 3, [0.01, 0.01, SURE], [SMALL] * 3]
    assert owners([TINY, WIDE, LESS], p) == {0: 1, 2: 2}
