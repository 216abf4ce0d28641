"""Distillation: values by hand, zero where there is nothing to learn, plans of pruned cfgs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models import Darknet
from slim_prune import STRATEGY as SLIM
from tests.support.nets import SMALL_DETECTOR, head, net, small_detector
from utils.cfg import parse_cfg, plain_text
from utils.command.errors import UserError
from utils.network.channel_links import Link, plan_path, read_links, write_links
from utils.network.graph import channel_graph
from utils.pruning.importance.batch_norm import batch_norm_scale
from utils.pruning.plan import make_plan
from utils.pruning.surgery import links_of, prune
from utils.training.distillation.cross import crossings
from utils.training.distillation.distiller import Distiller
from utils.training.distillation.features import channel_wise, divergence, relative_error
from utils.training.distillation.links import Linked, default_links
from utils.training.distillation.matching import matched_heads
from utils.training.distillation.options import DistillKind, DistillOptions

TARGETS = torch.tensor([[0, 1, 0.4, 0.6, 0.3, 0.3], [1, 0, 0.7, 0.2, 0.5, 0.4]])
KINDS: tuple[DistillKind, ...] = ("1", "2", "response", "feature", "cross")


def images() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def own_links(student: Darknet, teacher: Darknet, kind: DistillKind) -> Linked:
    every = {
        rule.index: Link(rule.index, rule.index, tuple(range(rule.shape[0])))
        for rule in student.rules
    }
    if kind == "cross":
        return Linked(crossings=crossings(every, student.rules, teacher.rules))
    return Linked(default_links(every, student.rules) if kind == "feature" else ())


def taught(student: Darknet, teacher: Darknet, kind: DistillKind, iou_t: float = 0.2635) -> float:
    linked = own_links(student, teacher, kind)
    distiller = Distiller(teacher, student.heads, DistillOptions(kinds=(kind,)), linked, iou_t)
    with torch.no_grad():
        raw, values = student.observe(images(), distiller.observed)
        return float(distiller(images(), raw, values, TARGETS)["kd"])


def test_divergence_by_hand() -> None:
    """Softmax of (0, 0) and of (ln 3 * T, 0): KL((.75, .25) || (.5, .5))."""
    student, teacher = torch.tensor([0.0, 0.0]), torch.tensor([3 * math.log(3.0), 0.0])
    by_hand = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(divergence(student, teacher, 3.0)) == pytest.approx(by_hand, rel=1e-6)


def test_channel_wise_by_hand() -> None:
    """Two positions, one channel: T^2 times the same KL."""
    student, teacher = torch.zeros(1, 1, 1, 2), torch.tensor([2 * math.log(3.0), 0.0])
    by_hand = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    got = float(channel_wise(student, teacher.view(1, 1, 1, 2), 2.0))
    assert got == pytest.approx(by_hand, rel=1e-6)


def test_relative_error_by_hand() -> None:
    teacher = torch.tensor([1.0, 3.0]).view(1, 1, 1, 2)  # variance 1
    assert float(relative_error(teacher + 0.5, teacher)) == pytest.approx(0.25)


def test_strategy_one_by_hand() -> None:
    """All rows alike: 0.001 T^2 rows KL, since the division by B meets B times the rows."""
    student, teacher = small_detector(), small_detector()
    with torch.no_grad():
        for net_, bias in ((student, 0.0), (teacher, 1.0)):
            last = net_.layers[4].conv
            last.weight.zero_()
            last.bias.zero_()
            last.bias[0::7] = 3 * bias  # x of both anchors
    other = [math.e / (math.e + 6), *[1 / (math.e + 6)] * 6]
    kl = sum(p * math.log(p * 7) for p in other)
    rows = 2 * 4 * 4  # anchors, cells
    assert taught(student, teacher, "1") == pytest.approx(0.001 * 9 * rows * kl, rel=1e-4)


def test_strategy_two_by_hand() -> None:
    """Equal scores, and boxes off by the teacher's less: the sum of the squared distances."""
    student, teacher = small_detector(), small_detector()
    with torch.no_grad():
        for net_, size in ((student, 1.0), (teacher, 0.0)):
            last = net_.layers[4].conv
            last.weight.zero_()
            last.bias.zero_()
            last.bias[2::7] = size  # log of the width over the anchor's
    # Anchor 1 (14 x 12) fits target 0 (9.6 x 9.6) and 1 (16 x 12.8); anchor 0 (6 x 5) target 0.
    got = taught(student, teacher, "2")
    total = 0.0
    for anchor, target in (((14, 12), 0), ((6, 5), 0), ((14, 12), 1)):
        x, y, w, h = (float(v) for v in TARGETS[target, 2:])
        cell = (int(x * 4) + 0.5 - x * 4, int(y * 4) + 0.5 - y * 4)
        rest = cell[0] ** 2 + cell[1] ** 2 + (anchor[1] / 8 - h * 4) ** 2
        mine, theirs = (rest + (anchor[0] / 8 * f - w * 4) ** 2 for f in (math.e, 1.0))
        total += mine if mine > theirs else 0.0
    assert got == pytest.approx(0.001 * total, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_that_equals_its_teacher_learns_nothing(kind: DistillKind) -> None:
    assert taught(small_detector(), small_detector(), kind) == pytest.approx(0, abs=1e-7)
    assert taught(small_detector(1), small_detector(), kind) > 1e-4  # negative control


@pytest.mark.parametrize("loss", ["cwd", "mse", "pkd"])
def test_features_of_a_pruned_student_without_its_dead_channels_are_the_teachers(
    loss: str, tmp_path: Path
) -> None:
    teacher = small_detector()
    state = teacher.state_dict()
    with torch.no_grad():
        for index in (0, 1, 3):
            for name in ("weight", "bias"):
                state[f"layers.{index}.bn.{name}"][:3] = 0
    graph = channel_graph(teacher.rules)
    plan = make_plan(graph, batch_norm_scale(graph, state), SLIM.channels, 0.4)
    cfg, pruned = prune(teacher.cfg, state, plan)
    student = Darknet(parse_cfg(plain_text(cfg), "small.cfg")).eval()
    student.load_state(pruned)
    path = plan_path(tmp_path / "small.cfg")
    write_links(path, "net.cfg", links_of(plan))
    links = default_links(read_links(path, student.rules, teacher.rules), student.rules)
    assert [link.layer for link in links] == [0, 1, 3]
    assert all(len(link.channels) < teacher.rules[link.layer].shape[0] for link in links)
    options = DistillOptions(kinds=("feature",), feature_loss=loss)  # type: ignore[arg-type]

    def value(chosen: tuple[Link, ...]) -> float:
        distiller = Distiller(teacher, student.heads, options, Linked(chosen))
        with torch.no_grad():
            raw, values = student.observe(images(), distiller.observed)
            return float(distiller(images(), raw, values, TARGETS)["kd"])

    assert value(links) == pytest.approx(0, abs=1e-6)
    shifted = tuple(Link(i.layer, i.teacher_layer, i.channels[::-1]) for i in links)
    assert value(shifted) > 1e-3  # negative control: other channels


def test_plans_of_other_networks_and_files_that_are_none_are_refused(tmp_path: Path) -> None:
    student, path = small_detector(), tmp_path / "x.plan.json"
    for links in ([Link(0, 0, (0, 1))], [Link(0, 99, tuple(range(8)))], [Link(0, 0, (99,) * 8)]):
        write_links(path, "t.cfg", links)
        with pytest.raises(UserError, match="another student or teacher"):
            read_links(path, student.rules, student.rules)
    for text in ("", "[]", '{"format": 1}', "[" * 100_000, json.dumps({"format": 9, "layers": 3})):
        path.write_text(text)
        with pytest.raises(UserError, match="prune again"):
            read_links(path, student.rules, student.rules)


def test_heads_are_matched_by_grid_anchors_and_classes() -> None:
    mine = small_detector().heads
    assert matched_heads(mine, mine) == ((0, 0),)
    for other in (head(3), head(2, 1), head(anchors=2).replace("6,5", "9,9")):
        with pytest.raises(UserError, match="no head of the teacher"):
            matched_heads(mine, Darknet(net(*SMALL_DETECTOR[:-1], other)).heads)
