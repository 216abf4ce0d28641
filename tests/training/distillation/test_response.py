"""`--distill response`: values by hand, nothing to learn from an equal, and that it teaches."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.support.dfl_net import raw_heads, two_heads
from tests.support.nets import small_detector
from utils.network.layers import Head, Yolo
from utils.training.distillation.distiller import Distiller
from utils.training.distillation.options import DistillOptions
from utils.training.distillation.response import Pair, response_loss

KL = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)  # of the probabilities (3/4, 1/4) from (1/2, 1/2)
THREE_TO_ONE = math.log(3.0)


def yolo() -> Yolo:
    found = small_detector().heads[0]
    assert isinstance(found, Yolo)
    return found


def pair(head: Head, raw: Tensor, taught: Tensor) -> Pair:
    """Of a teacher with the same head."""
    return Pair(head, raw, head, taught)


def test_objectness_and_classes_by_hand() -> None:
    """Anchors 2, 4 x 4 cells; the teacher is 3/4 sure of objects, and so of class 0 of 2."""
    student = torch.zeros(1, 14, 4, 4)
    teacher = student.clone()
    teacher[:, [4, 11, 5, 12]] = THREE_TO_ONE
    by_hand = (KL + 0.5 * 0.75 * KL) / 0.75  # every cell alike; the boxes agree
    got = float(response_loss([pair(yolo(), student, teacher)], (32, 32)))
    assert got == pytest.approx(by_hand, rel=1e-5)


def test_boxes_by_hand() -> None:
    """One cell whose teacher is sure, twice as wide: IoU 1/2, and CIoU's price of the shape."""
    student = torch.full((1, 14, 4, 4), -20.0)
    student[:, :4] = 0
    student[:, 7:11] = 0
    student[0, 4, 1, 2] = 20
    teacher = student.clone()
    teacher[0, 2, 1, 2] = math.log(2)
    v = 4 / math.pi**2 * (math.atan(12 / 5) - math.atan(6 / 5)) ** 2
    by_hand = 2.0 * (1 - (0.5 - v * v / (0.5 + v)))
    got = float(response_loss([pair(yolo(), student, teacher)], (32, 32)))
    assert got == pytest.approx(by_hand, rel=1e-4)
    teacher[0, 4, 1, 2] = student[0, 4, 1, 2] = -20  # nothing there: no box to learn
    assert float(response_loss([pair(yolo(), student, teacher)], (32, 32))) < 1e-5


def test_sides_and_classes_of_yolov8_by_hand() -> None:
    """One of 3 classes at 3/4 everywhere, and the left side's first bin three times as likely."""
    head = two_heads()[0]
    student = torch.full((2, 67, 12, 16), -30.0)
    student[:, :64], student[:, 65] = 0, 0
    teacher = student.clone()
    teacher[:, 0], teacher[:, 65] = THREE_TO_ONE, THREE_TO_ONE
    first, rest = 3 / 18, 1 / 18
    sides = (first * math.log(first * 16) + 15 * rest * math.log(rest * 16)) / 4
    by_hand = (0.5 * KL + 1.5 * 0.75 * sides) / 0.75
    got = float(response_loss([pair(head, student, teacher)], (48, 64)))
    assert got == pytest.approx(by_hand, rel=1e-5)


def test_an_equal_teaches_nothing_and_another_does() -> None:
    maker = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, 14, 4, 4, generator=maker) for _ in range(2))
    levels = list(zip(two_heads(), raw_heads(0), raw_heads(1), strict=True))
    for same, other, size in (
        ([pair(yolo(), a, a)], [pair(yolo(), a, b)], (32, 32)),
        ([pair(h, x, x) for h, x, _ in levels], [pair(*each) for each in levels], (48, 64)),
    ):
        assert response_loss(same, size).item() == pytest.approx(0, abs=1e-5)
        assert response_loss(other, size).item() > 0.1


def test_a_student_learns_from_it() -> None:
    student, teacher = small_detector(1).train(), small_detector()
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    distiller = Distiller(teacher, student.heads, DistillOptions(kinds=("response",)))
    optimizer = torch.optim.Adam(student.parameters(), 1e-2)
    values = []
    for _ in range(40):
        raw, features = student.observe(images, ())
        loss = distiller(images, raw, features, torch.zeros(0, 6))["kd"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.5 * values[0]
