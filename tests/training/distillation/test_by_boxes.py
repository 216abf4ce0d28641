"""`--distill response` of a teacher with other cells: its boxes as labels, values by numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from models import Darknet
from tests.support.dfl_net import raw_heads, two_heads, two_levels
from tests.support.nets import conv, head, healthy, net, small_detector
from utils.command.errors import UserError
from utils.network.layers import Yolo
from utils.training.distillation.by_boxes import Found, boxes_loss, seen
from utils.training.distillation.distiller import Distiller
from utils.training.distillation.options import DistillOptions
from utils.training.distillation.sight import Sight

RESPONSE = DistillOptions(kinds=("response",))
NOTHING = Found(torch.zeros(0, 6), torch.zeros(0), torch.zeros(0, 2))


def yolo() -> Yolo:
    found = small_detector().heads[0]
    assert isinstance(found, Yolo)
    return found


def one_box(sure: float = 0.8) -> Found:
    """As large as anchor 1 (14 x 12), in the middle of column 2, row 1 of 4 x 4 cells of 8 px."""
    rows = torch.tensor([[0, 1, 20 / 32, 12 / 32, 14 / 32, 12 / 32]])
    return Found(rows, torch.tensor([sure]), torch.tensor([[0.25, 0.75]]))


def answer(sure: float = 0.8) -> Tensor:
    """The raw head that says just that."""
    raw = torch.zeros(1, 14, 4, 4)
    raw[:, [4, 11]] = -30
    raw[0, 11, 1, 2] = math.log(sure / (1 - sure))
    raw[0, 12, 1, 2], raw[0, 13, 1, 2] = -math.log(3), math.log(3)
    return raw


def test_numpys_value_for_a_student_that_knows_nothing() -> None:
    """Raw 0: boxes are the anchors in the middle of their cells, all else is one half."""
    got = boxes_loss([yolo()], [torch.zeros(1, 14, 4, 4)], one_box(), (32, 32))
    kl = lambda p, q: p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))  # noqa: E731
    # Anchor 1 answers alone: (6 x 5) overlaps by .18 < .2. Its neighbours' boxes overlap the
    # teacher's by 6 of 14 px of width (IoU .27) or 4 of 12 px of height (IoU .2): they count.
    cells = 2 * 16
    objectness = kl(0.8, 0.5) + (cells - 1) * np.log(2)
    by_hand = (objectness + 0.5 * 0.8 * (kl(0.25, 0.5) + kl(0.75, 0.5))) / 1  # the sum is below 1
    assert got.item() == pytest.approx(by_hand, rel=1e-5)


def test_a_wider_box_costs_its_ciou_and_the_more_the_surer_the_teacher_is() -> None:
    raw = answer()
    raw[0, 9, 1, 2] = math.log(2)  # IoU 1/2
    v = 4 / math.pi**2 * (math.atan(28 / 12) - math.atan(14 / 12)) ** 2
    by_hand = 2.0 * 0.8 * (1 - (0.5 - v * v / (0.5 + v)))
    assert boxes_loss([yolo()], [raw], one_box(), (32, 32)).item() == pytest.approx(
        by_hand, rel=1e-3
    )
    surer = answer(0.4)
    surer[0, 9, 1, 2] = math.log(2)
    got = boxes_loss([yolo()], [surer], one_box(0.4), (32, 32)).item()
    assert got == pytest.approx(by_hand / 2, rel=1e-3)


def test_two_heads_that_answer_alike_cost_no_more_than_one() -> None:
    """As labels' parts are divided by the positives: else more anchors would weigh more."""
    raw = answer(0.9)
    raw[0, 9, 1, 2] = math.log(2)
    found = Found(*(torch.cat((x, x)) for x in vars(one_box(0.9)).values()))  # sums above 1
    once = boxes_loss([yolo()], [raw], found, (32, 32)).item()
    twice = boxes_loss([yolo()] * 2, [raw] * 2, found, (32, 32)).item()
    assert twice == pytest.approx(once, rel=1e-4)
    assert once > 0.5


def test_a_student_that_says_the_same_has_nothing_to_learn() -> None:
    assert boxes_loss([yolo()], [answer()], one_box(), (32, 32)).item() == pytest.approx(
        0, abs=1e-5
    )
    moved = torch.roll(answer(), 1, 3)  # negative control: one cell to the right
    assert boxes_loss([yolo()], [moved], one_box(), (32, 32)).item() > 1
    nothing = boxes_loss([yolo()], [answer()], NOTHING, (32, 32)).item()
    assert nothing > 0.5  # where the teacher sees nothing, the student must not


def test_a_cell_whose_box_overlaps_the_teachers_is_no_background() -> None:
    raw = answer()
    raw[0, 11, 1, 3] = 3.0  # the cell to the right, whose box is made to be the same
    raw[0, 7, 1, 3] = -30.0  # its left edge: 4 px to the right of the middle of column 2
    assert boxes_loss([yolo()], [raw], one_box(), (32, 32)).item() == pytest.approx(0, abs=1e-4)
    raw[0, 7, 1, 3] = 30.0  # negative control: its right edge, 12 px
    assert boxes_loss([yolo()], [raw], one_box(), (32, 32)).item() > 2


def test_boxes_of_anchors_and_of_bins_are_read_alike() -> None:
    found = seen([yolo()], [answer()], (32, 32))
    assert found.rows.tolist() == [pytest.approx(one_box().rows[0].tolist(), abs=1e-5)]
    assert found.sure.item() == pytest.approx(0.8)
    assert found.classes[0].tolist() == pytest.approx([0.25, 0.75])
    levels = [torch.full((2, 67, 12, 16), -30.0), torch.full((2, 67, 6, 8), -30.0)]
    raw = levels[1]
    raw[1, [2, 18, 34, 50], 3, 4] = 30  # each side at bin 2 of 8 px
    raw[1, 66, 3, 4] = math.log(3)
    raw[1, 65, 3, 4] = 0
    found = seen(two_heads(), levels, (48, 64))
    wanted = [1, 2, 36 / 64, 28 / 48, 32 / 64, 32 / 48]
    assert found.rows.tolist() == [pytest.approx(wanted, abs=1e-4)]
    assert found.sure.item() == pytest.approx(0.75)
    assert found.classes[0].tolist() == pytest.approx([0, 2 / 3, 1], abs=1e-4)


def test_the_second_box_of_one_object_is_left_out_and_a_box_of_doubt() -> None:
    raw = answer()
    raw[0, 11, 1, 3], raw[0, 7, 1, 3] = 0.5, -30.0  # IoU 10 / 18
    raw[0, 13, 1, 3] = 5
    assert len(seen([yolo()], [raw], (32, 32)).sure) == 2
    raw[0, 7, 1, 3] = -30.0
    raw[0, 9, 1, 3] = math.log(22 / 14)  # now 20 / 2 to either side of 24: IoU 14 / 23
    assert len(seen([yolo()], [raw], (32, 32)).sure) == 1
    assert len(seen([yolo()], [answer(0.04)], (32, 32)).sure) == 0


def test_heads_of_yolov8_learn_from_boxes_as_from_labels_by_how_sure_they_are() -> None:
    rows = torch.tensor([[0, 1, 0.4, 0.5, 0.3, 0.4], [1, 2, 0.6, 0.5, 0.5, 0.5]])
    classes = torch.eye(3)[[1, 2]]
    values = []
    for sure in (0.0, 0.5, 1.0):
        found = Found(rows, torch.full((2,), sure), classes)
        raw = raw_heads(0)
        loss = boxes_loss(two_heads(), raw, found, (48, 64))
        (gradient,) = torch.autograd.grad(loss, raw[0])
        values.append(float(gradient[:, :64].abs().sum()))
    assert values[0] == 0  # no box to learn
    assert min(values[1:]) > 0


def other_teacher(width: int = 64) -> Darknet:
    """Other anchors, other strides, and a larger input; it sees little."""
    teacher = healthy(
        net(conv(8, stride=2), conv(8, stride=2), head(2, 3), width=width, height=width)
    )
    with torch.no_grad():
        teacher.layers[2].conv.bias[4::7] -= 3
    return teacher.requires_grad_(False)


def images() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["yolo", "dfl"])
def test_a_student_learns_from_a_teacher_of_another_architecture_and_size(kind: str) -> None:
    if kind == "yolo":
        student, teacher, x = small_detector(1).train(), other_teacher(), images()
        sight = Sight.of(teacher, student.img_size)
    else:
        student = healthy(two_levels(), 1).train()
        teacher = healthy(net(conv(8, stride=4), head(3), width=128, height=96)).requires_grad_(
            False
        )
        sight = Sight.of(teacher, student.img_size)
        x = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    distiller = Distiller(teacher, student.heads, RESPONSE, sight=sight)
    assert (distiller.pairs, sight.factor) == ((), 2)
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    optimizer = torch.optim.Adam(student.parameters(), 1e-2)
    values = []
    for _ in range(40):
        raw, features = student.observe(x, ())
        loss = distiller(x, raw, features, torch.zeros(0, 6))["kd"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.7 * values[0]
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())


def test_a_region_student_is_refused_in_one_line() -> None:
    last = conv(14, 1, batch_normalize=None, activation="linear")
    region = "[region]\nanchors=1,1,2,2\nclasses=2\nnum=2\ncoords=4\n\n"
    student = Darknet(net(conv(8, stride=2), last, region))
    with pytest.raises(UserError, match=r"\[region\] head at layer 2") as got:
        Distiller(other_teacher(), student.heads, RESPONSE)
    assert "\n" not in str(got.value)
    Distiller(other_teacher(), small_detector().heads, RESPONSE)  # negative control


def test_autocast_does_not_round_boxes() -> None:
    student, teacher = healthy(two_levels(), 1), healthy(net(conv(8, stride=4), head(3)))
    sight = Sight(1.0, 4)
    distiller = Distiller(teacher, student.heads, RESPONSE, sight=sight)
    x = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    raw = student.raw_heads(x)
    taught = teacher.raw_heads(x)
    exact = distiller._response([], raw, taught, (48, 64)).item()
    with torch.autocast("cpu", torch.bfloat16):
        assert (raw[0].flatten(1) @ raw[0].flatten(1).T).dtype == torch.bfloat16  # control
        assert distiller._response([], raw, taught, (48, 64)).item() == exact


def test_what_leaves_0_to_1_is_held_there() -> None:
    last = conv(14, 1, batch_normalize=None, activation="linear")
    region = "[region]\nanchors=1,1,2,2\nclasses=2\nnum=2\ncoords=4\n\n"
    teacher = Darknet(net(conv(8, stride=8), last, region))
    raw = torch.zeros(1, 14, 4, 4)
    raw[0, 5, 1, 1], raw[0, 6, 1, 1] = 7.0, -2.0  # classes as they are
    found = seen(teacher.heads, [raw], (32, 32))
    assert found.classes.tolist() == [[1, 0]]
    assert boxes_loss([yolo()], [torch.zeros(1, 14, 4, 4)], found, (32, 32)).isfinite()
