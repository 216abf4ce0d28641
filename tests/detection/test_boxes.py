"""utils/boxes.py against closed forms, its own definitions and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from utils.detection.boxes import iou, pairwise_iou, wh_iou, xywh_to_xyxy

KINDS = ("iou", "giou", "diou", "ciou")


def random_xyxy(count: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """(count, 4) boxes of 5..60 px inside 100 px."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 40, (count, 2))
    return torch.as_tensor(np.hstack((low, low + rng.uniform(5, 60, (count, 2)))), dtype=dtype)


@pytest.mark.parametrize(
    ("b", "expected"),
    [
        # a is (0, 0, 2, 2); the enclosing box of the second is 4 x 2, of the third 6 x 2.
        ((0, 0, 2, 2), {"iou": 1, "giou": 1, "diou": 1, "ciou": 1}),
        ((1, 0, 3, 2), {"iou": 1 / 3, "giou": 1 / 3, "diou": 1 / 3 - 1 / 13}),
        ((4, 0, 6, 2), {"iou": 0, "giou": -4 / 12, "diou": -16 / 40, "ciou": -16 / 40}),
        ((0, 0, 2, 1), {"iou": 1 / 2, "giou": 1 / 2, "diou": 1 / 2 - 0.25 / 8}),
    ],
)
def test_closed_forms(b: tuple[float, ...], expected: dict[str, float]) -> None:
    first, second = torch.tensor([0.0, 0, 2, 2]), torch.tensor(b, dtype=torch.float32)
    for kind, value in expected.items():
        assert iou(first, second, kind).item() == pytest.approx(value, abs=1e-6)  # type: ignore[arg-type]


def test_ciou_adds_the_aspect_penalty() -> None:
    first, second = torch.tensor([0.0, 0, 2, 2]), torch.tensor([0.0, 0, 2, 1])
    v = 4 / math.pi**2 * (math.atan(2) - math.atan(1)) ** 2
    expected = 0.5 - 0.25 / 8 - v * v / (0.5 + v)
    assert iou(first, second, "ciou").item() == pytest.approx(expected, abs=1e-6)
    assert iou(first, second, "diou").item() != pytest.approx(expected, abs=1e-3)


def test_pairwise_equals_elementwise_and_is_symmetric() -> None:
    a, b = random_xyxy(7), random_xyxy(5, seed=1)
    table = pairwise_iou(a, b)
    assert table.shape == (7, 5)
    torch.testing.assert_close(table[3, 2], iou(a[3], b[2]))
    torch.testing.assert_close(table, pairwise_iou(b, a).T)
    assert not torch.allclose(table, pairwise_iou(a + 1, b))
    assert pairwise_iou(a[:0], b).shape == (0, 5)


def test_wh_iou_is_the_iou_of_concentric_boxes() -> None:
    rng = np.random.default_rng(3)
    anchors, sizes = (
        torch.tensor(rng.uniform(1, 9, (4, 2))),
        torch.tensor(rng.uniform(1, 9, (6, 2))),
    )
    zero_centred = [xywh_to_xyxy(torch.cat((torch.zeros_like(s), s), 1)) for s in (anchors, sizes)]
    torch.testing.assert_close(wh_iou(anchors, sizes), pairwise_iou(*zero_centred))


def xyxy_to_xywh(boxes_xyxy: Tensor) -> Tensor:
    low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return torch.cat(((low + high) / 2, high - low), dim=-1)


@given(st.lists(st.floats(-500, 500, width=32), min_size=4, max_size=4))
def test_corners_have_the_centre_and_the_size(values: list[float]) -> None:
    boxes = torch.tensor([values], dtype=torch.float64)
    low, high = xywh_to_xyxy(boxes).split(2, dim=-1)
    torch.testing.assert_close((low + high) / 2, boxes[:, :2])
    torch.testing.assert_close(high - low, boxes[:, 2:])


@pytest.mark.parametrize("kind", KINDS[:3])
def test_gradients_match_finite_differences(kind: str) -> None:
    a, b = random_xyxy(20).requires_grad_(), random_xyxy(20, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: iou(x, y, kind), (a, b))  # type: ignore[arg-type]


def test_ciou_gradient_treats_alpha_as_a_number() -> None:
    a, b = random_xyxy(20).requires_grad_(), random_xyxy(20, seed=1)
    gradient = torch.autograd.grad(iou(a, b, "ciou").sum(), a)[0]
    size = (a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2])
    angles = [torch.atan(s[:, 0] / s[:, 1]) for s in size]
    v = 4 / math.pi**2 * (angles[1] - angles[0]) ** 2
    alpha = v / (1 - iou(a, b) + v)
    frozen = torch.autograd.grad(
        (iou(a, b, "diou") - alpha.detach() * v).sum(), a, retain_graph=True
    )
    flowing = torch.autograd.grad((iou(a, b, "diou") - alpha * v).sum(), a)
    torch.testing.assert_close(gradient, frozen[0])
    assert not torch.allclose(gradient, flowing[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_degenerate_boxes_stay_finite(kind: str, scale: float) -> None:
    corners = [
        (0, 0, 0, 0),
        (1, 1, 1, 1),
        (0, 0, 2, 0),
        (0, 0, 0, 2),
        (0, 0, 1, 1),
        (5, 5, 900, 901),
    ]
    inverted = (3, 3, 2, 2)
    boxes = torch.tensor([*corners, inverted], dtype=torch.float32) * scale
    a = boxes[:, None].expand(-1, len(boxes), -1).clone().requires_grad_()
    value = iou(a, boxes[None], kind)  # type: ignore[arg-type]
    value.sum().backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(value).all()
    assert a.grad is not None and torch.isfinite(a.grad).all()
    proper = value[:-1, :-1]
    assert proper.max() <= 1 + 1e-6
    assert proper.min() >= (0 if kind == "iou" else -2)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_computed_in_float32(kind: str) -> None:
    # 300 x 300 px overflows float16, so a result computed in it would be useless.
    a = torch.tensor([[0, 0, 300, 300]], dtype=torch.float16)
    b = torch.tensor([[30, 0, 330, 300]], dtype=torch.float16)
    value = iou(a, b, kind)  # type: ignore[arg-type]
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, iou(a.double(), b.double(), kind).float())  # type: ignore[arg-type]


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="eiou"):
        iou(torch.zeros(1, 4), torch.zeros(1, 4), "eiou")  # type: ignore[arg-type]
