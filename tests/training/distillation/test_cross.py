"""`--distill cross`: where a head begins, numpy's value of the loss, whom it teaches, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models import Darknet
from slim_prune import STRATEGY as SLIM
from tests.support.dfl_net import two_levels
from tests.support.nets import conv, head, healthy, healthy_state, net, section, small_detector
from utils.cfg import parse_cfg, plain_text
from utils.command.errors import UserError
from utils.network.cfg_of import read_cfg
from utils.network.channel_links import Link, plan_path, write_links
from utils.network.graph import channel_graph
from utils.network.layers import Head, Layer, build_layers
from utils.pruning.importance.batch_norm import batch_norm_scale
from utils.pruning.plan import make_plan
from utils.pruning.surgery import links_of, prune
from utils.training.distillation.cross import crossings, own_layers, scattered
from utils.training.distillation.distiller import Distiller
from utils.training.distillation.links import Linked, links_to_teach
from utils.training.distillation.options import DistillOptions, TeacherOptions

CROSS = DistillOptions(kinds=("cross",))
NO_TARGETS = torch.zeros(0, 6)
TWO_SCALES = (
    conv(8, stride=2), conv(8, stride=2), conv(6, stride=2),  # 2 branches off: read by 3 and 5
    conv(10), head(),  # 3, 4, 5
    section("route", layers=2), section("upsample", stride=2),  # 6, 7
    section("route", layers="-1,1"), conv(9), head(),  # 8 joins, 9, 10, 11
)  # fmt: skip


def images() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def identity_links(rules: tuple[Layer, ...]) -> dict[int, Link]:
    return {r.index: Link(r.index, r.index, tuple(range(r.shape[0]))) for r in rules}


def crossed(student: Darknet, teacher: Darknet, links: dict[int, Link]) -> Tensor:
    linked = Linked(crossings=crossings(links, student.rules, teacher.rules))
    distiller = Distiller(teacher, student.heads, CROSS, linked)
    raw, values = student.observe(images(), distiller.observed)
    return distiller(images(), raw, values, NO_TARGETS)["kd"]


def places(rules: tuple[Layer, ...]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [own_layers(rule, rules) for rule in rules if isinstance(rule, Head)]


def test_a_head_begins_where_something_branches_joins_or_changes_its_size() -> None:
    assert places(Darknet(net(*TWO_SCALES)).rules) == [((3, 4), (2,)), ((9, 10), (8,))]
    assert places(small_detector().rules) == [((3, 4), (2,))]  # a pooling before it
    assert places(Darknet(net(head())).rules) == [((), (0,))]  # never the input itself


def test_both_branches_of_a_yolov8_head_are_its_own() -> None:
    rules = Darknet(two_levels()).rules
    (own, entry), (_, second) = places(rules)
    assert [rules[index].kind for index in own].count("convolutional") == 4
    assert entry == (9,)
    assert len(second) == 1
    assert rules[second[0]].shape[1:] == (6, 8)


def pruned_twin(teacher: Darknet) -> tuple[Darknet, list[Link]]:
    """The teacher without three channels of layers 0, 1 and 3; their gammas are set to 0."""
    state = teacher.state_dict()
    with torch.no_grad():
        for index in (0, 1, 3):
            for name in ("weight", "bias"):
                state[f"layers.{index}.bn.{name}"][:3] = 0
    graph = channel_graph(teacher.rules)
    plan = make_plan(graph, batch_norm_scale(graph, state), SLIM.channels, 0.4)
    cfg, small = prune(teacher.cfg, state, plan)
    student = Darknet(parse_cfg(plain_text(cfg), "small.cfg")).eval()
    student.load_state(small)
    return student, links_of(plan)


def test_a_pruned_student_whose_channels_are_the_teachers_has_nothing_to_learn() -> None:
    teacher = small_detector()
    student, links = pruned_twin(teacher)
    by_layer = {link.layer: link for link in links}
    assert len(by_layer[2].channels) < teacher.rules[2].shape[0]
    assert crossed(student, teacher, by_layer).item() == pytest.approx(0, abs=1e-5)
    other = {i: Link(i, link.teacher_layer, link.channels[::-1]) for i, link in by_layer.items()}
    assert crossed(student, teacher, other).item() > 1e-2  # negative control: other channels


def test_channels_that_were_cut_hold_the_teachers_features() -> None:
    mine, theirs = torch.ones(1, 2, 1, 1), torch.tensor([5.0, 6, 7, 8]).view(1, 4, 1, 1)
    found = scattered(mine * torch.tensor([1.0, 2]).view(1, 2, 1, 1), theirs, Link(0, 0, (3, 1)))
    assert found.flatten().tolist() == [5, 2, 7, 1]
    assert theirs.flatten().tolist() == [5, 6, 7, 8]  # the loss still needs them


def test_the_loss_is_what_numpy_computes() -> None:
    """One 1 x 1 convolution as head, with equal boxes: objectness and classes alone."""
    cfg = net(conv(5, stride=8), head(2, 1))
    state = healthy_state(Darknet(cfg))
    state["layers.1.conv.weight"][:4] = 0  # every box is the same
    teacher = Darknet(cfg, weights=state).eval()
    student = healthy(net(conv(3, stride=8), head(2, 1)), 4)
    links = {0: Link(0, 0, (4, 0, 2))}
    with torch.no_grad():
        theirs = teacher.observe(images(), (0,))[1][0].numpy()
        mine = student.observe(images(), (0,))[1][0].numpy()
        got = crossed(student, teacher, links).item()
    mixed = theirs.copy()
    mixed[:, [4, 0, 2]] = mine
    weight = state["layers.1.conv.weight"][:, :, 0, 0].numpy()
    bias = state["layers.1.conv.bias"].numpy()[:, None, None]

    def probabilities(features: np.ndarray) -> np.ndarray:
        raw = np.einsum("oc,bchw->bohw", weight, features) + bias
        return np.asarray(1 / (1 + np.exp(-raw.astype(np.float64))))

    p, q = probabilities(theirs), probabilities(mixed)
    kl = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    sure = p[:, 4:5]
    taught = (sure > 0.01) * sure * kl[:, 5:]
    by_hand = (kl[:, 4].sum() + 0.5 * taught.sum()) / max(1, sure.sum())
    assert got == pytest.approx(by_hand, rel=1e-4)
    assert got > 1e-3


def test_the_gradient_reaches_the_students_features_neither_its_head_nor_the_teacher() -> None:
    student, teacher = small_detector(1).train(), small_detector().requires_grad_(False)
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    optimizer = torch.optim.Adam(student.parameters(), 1e-2)
    values = []
    for _ in range(30):
        loss = crossed(student, teacher, identity_links(student.rules))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.5 * values[0]
    grads = [student.layers[index].conv.weight.grad for index in (0, 1, 3, 4)]
    assert [grad is not None for grad in grads] == [True, True, False, False]
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())


def test_heads_of_yolov8_are_crossed_as_well() -> None:
    teacher, student = healthy(two_levels()), healthy(two_levels(), 1)
    links = identity_links(teacher.rules)
    linked = Linked(crossings=crossings(links, student.rules, teacher.rules))
    values = []
    for one in (teacher, student):
        distiller = Distiller(teacher, one.heads, CROSS, linked)
        x = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(1))
        raw, seen = one.observe(x, distiller.observed)
        values.append(distiller(x, raw, seen, NO_TARGETS)["kd"].item())
    assert values[0] == pytest.approx(0, abs=1e-5)
    assert values[1] > 0.1


def asked(plan: Path) -> TeacherOptions:
    return TeacherOptions("t.cfg", "t.weights", str(plan), CROSS)


def test_what_links_no_entry_is_refused_and_response_named(tmp_path: Path) -> None:
    student = small_detector()
    path = plan_path(tmp_path / "small.cfg")
    with pytest.raises(UserError, match=r"cross: .*is not there.*response needs none"):
        links_to_teach(asked(path), "small.cfg", student.rules, student.rules)
    write_links(path, "t.cfg", [Link(0, 99, tuple(range(8)))])
    with pytest.raises(UserError, match=r"another student or teacher.*response needs none"):
        links_to_teach(asked(path), "small.cfg", student.rules, student.rules)
    write_links(path, "t.cfg", [Link(0, 0, tuple(range(8)))])
    with pytest.raises(UserError, match=r"no layer .*to layer 2 .*response needs no links") as got:
        links_to_teach(asked(path), "small.cfg", student.rules, student.rules)
    assert "\n" not in str(got.value)
    write_links(path, "t.cfg", [Link(1, 2, tuple(range(8)))])  # of another size
    with pytest.raises(UserError, match="response needs no links"):
        links_to_teach(asked(path), "small.cfg", student.rules, student.rules)
    write_links(path, "t.cfg", [Link(2, 2, tuple(range(8)))])  # negative control
    found = links_to_teach(asked(path), "small.cfg", student.rules, student.rules)
    assert [(c.own, c.entry[0].layer) for c in found.crossings] == [((3, 4), 2)]
    assert found.features == ()


@pytest.mark.parametrize("name", ["demo", "yolov3-tiny", "yolov4", "yolov8n"])
def test_every_head_of_the_zoo_begins_at_features_of_its_own_scale(name: str) -> None:
    rules = build_layers(read_cfg(Path(__file__).parents[3] / "cfg" / f"{name}.cfg"))
    heads = [rule for rule in rules if isinstance(rule, Head)]
    for one in heads:
        own, (entry,) = own_layers(one, rules)
        assert rules[entry].shape[1:] == one.shape[1:]
        assert set(one.sources) <= set(own)
    assert len({own_layers(one, rules) for one in heads}) == len(heads)
