"""A teacher that sees the images at another size: which heads still answer, what is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

import train
from models import Darknet
from tests.support.nets import conv, head, healthy, healthy_state, net, small_detector
from tests.support.training_project import run
from utils.cfg import format_cfg
from utils.command.errors import UserError
from utils.network.channel_links import Link
from utils.training.distillation.distiller import Distiller
from utils.training.distillation.links import Linked
from utils.training.distillation.matching import alike, require_same_subject
from utils.training.distillation.options import DistillOptions
from utils.training.distillation.sight import Sight

RESPONSE = DistillOptions(kinds=("response",))


def detector(size: int, stride: int, anchors: str = "6,5,14,12", scale: float = 1.0) -> Darknet:
    """A kernel of one cell, so that a larger picture of the same gives the same."""
    last = head(scale_x_y=scale).replace("6,5,14,12", anchors)
    return healthy(net(conv(6, 1, stride=stride), last, width=size, height=size))


def test_the_size_is_the_students_by_the_factor_on_the_teachers_stride() -> None:
    sight = Sight.of(detector(64, 16), (32, 32))
    assert (sight.factor, sight.stride) == (2, 16)
    assert sight.size((32, 48)) == (64, 96)
    assert Sight(1.5, 32).size((32, 80)) == (64, 128)
    assert Sight(0.1, 32).size((32, 32)) == (32, 32)  # never nothing
    x = torch.rand(1, 3, 32, 32)
    assert sight.of_images(x).shape == (1, 3, 64, 64)
    assert Sight(1.0, 8).of_images(x) is x
    assert sight.of_images(x).mean().item() == pytest.approx(x.mean().item(), abs=1e-2)


def test_sizes_that_no_teacher_can_see_are_refused() -> None:
    with pytest.raises(UserError, match=r"multiples of 16, its stride: 32 or 48, not 40"):
        Sight.of(detector(40, 16), (40, 40))
    with pytest.raises(UserError, match="distorted"):
        Sight.of(detector(64, 16), (32, 64))


def test_heads_answer_each_other_where_grid_and_anchors_are_the_same_share_of_the_input() -> None:
    student = detector(32, 8).heads
    twice = detector(64, 16, "12,10,28,24").heads
    assert alike(student, twice, factor=2) == ((0, 0),)
    assert alike(student, twice) == ()
    assert alike(student, detector(64, 8, "12,10,28,24").heads, factor=2) == ()  # another grid
    assert alike(student, detector(64, 16).heads, factor=2) == ()  # other anchors


def test_a_twin_at_twice_the_size_has_nothing_to_teach_cell_by_cell() -> None:
    student, teacher = detector(32, 8), detector(64, 16, "12,10,28,24")
    state = healthy_state(student)
    for model in (student, teacher):
        model.load_state(state)
    sight = Sight.of(teacher, student.img_size)
    distiller = Distiller(teacher, student.heads, RESPONSE, sight=sight)
    flat = torch.rand(2, 3, 1, 1).expand(2, 3, 32, 32).contiguous()  # the same at any size
    with torch.no_grad():
        value = distiller(flat, student.raw_heads(flat), {}, torch.zeros(0, 6))["kd"]
        other = detector(32, 8).heads
        student.load_state(healthy_state(student, 1))
        changed = Distiller(teacher, other, RESPONSE, sight=sight)(
            flat, student.raw_heads(flat), {}, torch.zeros(0, 6)
        )["kd"]
    assert value.item() == pytest.approx(0, abs=1e-5)
    assert changed.item() > 1e-2  # negative control


def test_the_teachers_numbers_are_read_by_its_own_head() -> None:
    """scale_x_y: centres that a student of 1.0 must put elsewhere to say the same."""
    student, teacher = detector(32, 8), detector(32, 8, scale=1.2)
    teacher.load_state(student.state_dict())
    distiller = Distiller(teacher, student.heads, RESPONSE)
    assert distiller.pairs == ((0, 0),)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    raw, none = student.raw_heads(x), torch.zeros(0, 6)
    assert distiller(x, raw, {}, none)["kd"].item() > 1e-3
    same = Distiller(student, student.heads, RESPONSE)
    assert same(x, raw, {}, none)["kd"].item() == pytest.approx(0, abs=1e-6)


def test_a_batch_whose_size_gives_other_grids_is_learned_by_boxes_or_refused() -> None:
    student, teacher = detector(32, 8), detector(32, 8)
    sight, x = Sight(1.0, 16), torch.rand(1, 3, 40, 40)  # the teacher sees 32 or 48
    distiller = Distiller(teacher, student.heads, RESPONSE, sight=sight)
    value = distiller(x, student.raw_heads(x), {}, torch.zeros(0, 6))["kd"]
    assert value.isfinite()
    rows = Distiller(teacher, student.heads, DistillOptions(kinds=("1",)), sight=sight)
    with pytest.raises(UserError, match="leave out --multi-scale"):
        rows(x, student.raw_heads(x), {}, torch.zeros(0, 6))


def test_features_need_the_same_size() -> None:
    student, teacher = small_detector(), small_detector()
    linked = Linked((Link(3, 3, tuple(range(6))),))
    options = DistillOptions(kinds=("feature",))
    with pytest.raises(UserError, match="--t-img-size: features"):
        Distiller(teacher, student.heads, options, linked, sight=Sight(2.0, 8))
    assert Distiller(teacher, student.heads, options, linked).observed == (3,)


def test_teachers_of_other_classes_orders_and_channels_are_refused() -> None:
    student, teacher = small_detector(), small_detector()
    for names in ((), ("a", "b"), ("A", "B")):
        teacher.names = names
        require_same_subject(teacher, student, ("a", "b"))
    teacher.names = ("b", "a")
    with pytest.raises(UserError, match=r"another order .* number 0 is b, not a"):
        require_same_subject(teacher, student, ("a", "b"))
    with pytest.raises(UserError, match="knows 3 classes, the student 2"):
        require_same_subject(Darknet(net(conv(4), head(3))), student, ())
    with pytest.raises(UserError, match="1 channels, the student of 3"):
        require_same_subject(Darknet(net(conv(4), head(), channels=1)), student, ())


def test_a_run_with_a_larger_teacher_says_how_it_is_asked(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    other = net(conv(8, stride=2), conv(8, stride=2), head(2, 3), width=64, height=64)
    (project / "t.cfg").write_text(format_cfg(other))
    Darknet("t.cfg").save_weights(project / "t.weights")
    teacher = ["--t-cfg", "t.cfg", "--t-weights", "t.weights", "--epochs", "1"]
    run(*teacher, "--t-img-size", "64", "--name", "large")
    assert "taught by: response, sees them at 64x64, compared by its boxes" in caplog.text
    caplog.clear()
    Darknet("my.cfg").save_weights(project / "twin.weights")
    run("--t-cfg", "my.cfg", "--t-weights", "twin.weights", "--epochs", "1")
    assert "taught by: response, compared cell by cell" in caplog.text
    with pytest.raises(UserError, match="--t-img-size"):
        train.main(["--cfg", "my.cfg", "--data", "my.data", *teacher, "--t-img-size", "50"])
