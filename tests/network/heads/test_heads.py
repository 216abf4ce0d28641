"""What a head's channels mean, and how they become boxes, against loops in numpy."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models import Darknet
from tests.support.nets import conv, head, image, net, noise, rules, same_input, section
from utils.cfg import CfgError
from utils.network.layers import Head

Array = NDArray[np.float64]
ANCHORS = [(10.0, 14.0), (23.0, 27.0), (37.0, 58.0), (81.0, 82.0)]


def logistic(x: Array | float) -> Any:
    return 1 / (1 + np.exp(-np.asarray(x)))


def lone_head(kind: str, channels: int, rows: int = 4, columns: int = 6, **options: Any) -> Head:
    """A head that reads the network's input, whose cells are the input's pixels."""
    anchors = ", ".join(f"{w},{h}" for w, h in ANCHORS)
    usual = {"classes": 3, "num": 4, "anchors": anchors, **options}
    (layer,) = rules(section(kind, **usual), hw=(rows, columns), channels=channels)
    assert isinstance(layer, Head)
    return layer


def slow_yolo(
    raw: Array, mask: tuple[int, ...], input_hw: tuple[int, int], scale: float, new_coords: bool
) -> Array:
    """Boxes of one image, by the formulas of the dialect."""
    rows, columns = raw.shape[1:]
    per_anchor = raw.reshape(len(mask), -1, rows, columns)
    found = []
    for i, j, n in product(range(rows), range(columns), range(len(mask))):
        t = per_anchor[n, :, i, j]
        v = t if new_coords else logistic(t)
        x = (j + v[0] * scale - 0.5 * (scale - 1)) / columns
        y = (i + v[1] * scale - 0.5 * (scale - 1)) / rows
        anchor = np.array(ANCHORS[mask[n]])
        w, h = (4 * t[2:4] ** 2 if new_coords else np.exp(t[2:4])) * anchor
        found.append([x * input_hw[1], y * input_hw[0], w, h, *v[4:]])
    return np.array(found)


@pytest.mark.parametrize("scale", [1.0, 1.1, 2.0])
@pytest.mark.parametrize("new_coords", [False, True])
@pytest.mark.parametrize("mask", [(1, 3), (0,), (3, 0, 2)])
def test_yolo(mask: tuple[int, ...], new_coords: bool, scale: float) -> None:
    options: dict[str, Any] = {"scale_x_y": scale, "new_coords": int(new_coords)}
    options["mask"] = ",".join(map(str, mask))
    layer = lone_head("yolo", 8 * len(mask), **options)
    raw = noise(2, 8 * len(mask), 4, 6)
    raw = raw.sigmoid() if new_coords else raw
    boxes = layer.decode(raw, (64, 192))
    assert boxes.shape == (2, 4 * 6 * len(mask), 8)
    for k in range(2):
        wanted = slow_yolo(raw[k].numpy(), mask, (64, 192), scale, new_coords)
        assert np.allclose(boxes[k], wanted, rtol=1e-6)
        for hw, s, coords in (
            ((192, 64), scale, new_coords),
            ((64, 192), scale, not new_coords),
            ((64, 192), scale + 0.1, new_coords),
        ):
            other = slow_yolo(raw[k].numpy(), mask, hw, s, coords)
            assert not np.allclose(boxes[k], other, rtol=1e-6)


@pytest.mark.parametrize("new_coords", [False, True])
def test_yolo_activates_as_darknets_output(new_coords: bool) -> None:
    options: dict[str, Any] = {"mask": "1,2", "scale_x_y": 1.5, "new_coords": int(new_coords)}
    layer = lone_head("yolo", 16, **options)
    raw = noise(1, 16, 4, 6)
    found = layer.activate(raw)[0].numpy().reshape(2, 8, 4, 6)
    t = raw[0].numpy().reshape(2, 8, 4, 6)
    v = t if new_coords else logistic(t)
    assert np.allclose(found[:, :2], v[:, :2] * 1.5 - 0.25)
    assert np.array_equal(found[:, 2:4], t[:, 2:4])
    assert np.allclose(found[:, 4:], v[:, 4:])


def test_anchors_of_a_yolo() -> None:
    layer = lone_head("yolo", 16, mask="2,0")
    assert layer.anchors_px == (ANCHORS[2], ANCHORS[0])
    assert layer.all_anchors_px == tuple(ANCHORS)
    usual = {"classes": 1, "num": 2}
    short = rules(section("yolo", anchors="7,8,9", **usual), channels=12)[0]
    assert isinstance(short, Head)
    assert short.all_anchors == ((7.0, 8.0), (9.0, 0.5))
    assert short.mask == (0, 1)
    long = rules(section("yolo", anchors="1,2,3,4,5,6", **usual), channels=12)[0]
    assert isinstance(long, Head)
    assert long.all_anchors == ((1.0, 2.0), (3.0, 4.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (section("yolo", classes=3, num=1), r"needs 8 channels \(1 anchors x 8\) but reads 3; set"),
        (section("yolo", classes=0, num=1), "classes: must be at least 1"),
        (section("yolo", classes=1, num=2, mask="0,2"), r"mask: must name anchors 0\.\.1"),
        (section("yolo", classes=1, num=2, mask="-1"), r"mask: must name anchors 0\.\.1"),
        (section("yolo", classes=1, num=2, anchors="a,b"), "anchors: expected a number, got 'a'"),
        (section("region", classes=3, num=1), r"needs 8 channels"),
        (section("Gaussian_yolo", classes=3, num=1), r"needs 12 channels"),
    ],
)
def test_a_head_that_does_not_fit(text: str, message: str) -> None:
    with pytest.raises(CfgError, match=rf"^net\.cfg:.*{message}"):
        rules(same_input(), text)


def test_heads_come_in_the_order_of_the_cfg() -> None:
    """Rows: heads in order, then cells row by row, then anchors."""
    cfg = net(
        conv(4, stride=2), head(classes=1, anchors=1), section("route", layers=0),
        conv(4, stride=2), head(classes=1, anchors=2), width=32, height=16,
    )  # fmt: skip
    model = Darknet(cfg).eval()
    x = image(model)
    with torch.no_grad():
        boxes, raw = model(x), model.raw_heads(x)
    assert [tuple(t.shape[1:]) for t in raw] == [(6, 8, 16), (12, 4, 8)]
    parts = [layer.decode(r, (16, 32)) for layer, r in zip(model.heads, raw, strict=True)]
    assert boxes.shape == (2, 8 * 16 + 2 * 4 * 8, 6)
    assert torch.allclose(boxes, torch.cat(parts, 1))
    assert not torch.allclose(boxes[:, :128], boxes.flip(1)[:, :128])


def test_region() -> None:
    """YOLOv2: anchors in cells, classes by softmax, centres by logistic."""
    layer = lone_head("region", 4 * 8, softmax=1)
    raw = noise(1, 32, 4, 6)
    found = layer.decode(raw, (128, 192))[0].numpy()
    t = raw[0].numpy().reshape(4, 8, 4, 6)
    wanted = []
    for i, j, n in product(range(4), range(6), range(4)):
        v, share = t[n, :, i, j], np.exp(t[n, 5:, i, j])
        w, h = np.exp(v[2:4]) * ANCHORS[n] * 32
        centre = (j + logistic(v[0])) * 32, (i + logistic(v[1])) * 32
        wanted.append([*centre, w, h, logistic(v[4]), *share / share.sum()])
    assert np.allclose(found, wanted, rtol=1e-6)
    plain = lone_head("region", 4 * 8)
    assert np.allclose(plain.decode(raw, (128, 192))[0, :, :5], found[:, :5])
    raw_classes = t[:, 5:].transpose(2, 3, 0, 1).reshape(-1, 3)
    assert np.allclose(plain.decode(raw, (128, 192))[0, :, 5:], raw_classes)
    assert not np.allclose(raw_classes, found[:, 5:])


@pytest.mark.parametrize(("point", "shift"), [(None, 0), ("left_top", 0.5), ("right_bottom", -0.5)])
def test_gaussian_yolo(point: str | None, shift: float) -> None:
    layer = lone_head("Gaussian_yolo", 2 * 12, mask="1,2", scale_x_y=1.2, yolo_point=point)
    raw = noise(1, 24, 4, 6)
    t = raw[0].numpy().reshape(2, 12, 4, 6)
    wanted = []
    for i, j, n in product(range(4), range(6), range(2)):
        v = t[n, :, i, j]
        w, h = np.exp(v[4:8:2]) * ANCHORS[(1, 2)[n]]
        x = (j + logistic(v[0]) * 1.2 - 0.1) * 32 + shift * w
        y = (i + logistic(v[2]) * 1.2 - 0.1) * 16 + shift * h
        sure = 1 - logistic(v[1:8:2]).mean()
        wanted.append([x, y, w, h, logistic(v[8]) * sure, *logistic(v[9:])])
    found = layer.decode(raw, (64, 192))[0].numpy()
    assert np.allclose(found, wanted, rtol=1e-6)
    assert not np.allclose(found[:, 4], logistic(t[:, 8]).transpose(1, 2, 0).ravel())
