"""Fitting an image into the network's input, and the way back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.tiny_data import box_picture, noise_picture
from utils.data.letterbox import GREY, Geometry, content_geometry, identity, letterbox, resize
from utils.data.options import Fit, fitted_size

sizes = st.tuples(st.integers(1, 3000), st.integers(1, 3000))
nets = st.tuples(st.integers(1, 20), st.integers(1, 20)).map(lambda s: (s[0] * 32, s[1] * 32))
fits = st.sampled_from(["letterbox", "stretch"])


def to_net(geometry: Geometry, boxes_xyxy_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes (..., 4) in image pixels -> network input pixels: what `to_image` undoes."""
    (sy, sx), (oy, ox) = geometry.scale_yx, geometry.offset_yx
    return boxes_xyxy_px * (sx, sy, sx, sy) + np.array((ox, oy, ox, oy))


def geometry_of(image_hw: tuple[int, int], net_hw: tuple[int, int], fit: Fit) -> Geometry:
    size = fitted_size(image_hw, net_hw, fit)
    return content_geometry(image_hw, size).placed(net_hw)


@given(sizes, nets, fits)
def test_content_fills_one_side_and_keeps_the_aspect(
    image_hw: tuple[int, int], net_hw: tuple[int, int], fit: Fit
) -> None:
    h, w = fitted_size(image_hw, net_hw, fit)
    assert 1 <= h <= net_hw[0]
    assert 1 <= w <= net_hw[1]
    assert h == net_hw[0] or w == net_hw[1]
    if fit == "stretch":
        assert (h, w) == net_hw
    else:
        ratio = min(net_hw[0] / image_hw[0], net_hw[1] / image_hw[1])
        assert abs(h - image_hw[0] * ratio) <= 1
        assert abs(w - image_hw[1] * ratio) <= 1


@given(sizes, nets, fits, st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_there_and_back_is_exact(
    image_hw: tuple[int, int], net_hw: tuple[int, int], fit: Fit, shares: list[float]
) -> None:
    geometry = geometry_of(image_hw, net_hw, fit)
    h, w = image_hw
    (x1, x2), (y1, y2) = sorted(shares[:2]), sorted(shares[2:])
    box = np.array([[x1 * w, y1 * h, x2 * w, y2 * h]])
    np.testing.assert_allclose(geometry.to_image(to_net(geometry, box)), box, atol=1e-8 * max(h, w))
    on_net = to_net(geometry, box)
    assert (on_net >= -1e-9).all()
    assert (on_net <= np.array([*net_hw[::-1]] * 2) + 1e-9).all()
    row = np.array([[2, (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]], np.float32)
    _, xc, yc, bw, bh = geometry.labels_to_net(row)[0] * [1, *net_hw[::-1], *net_hw[::-1]]
    corners = [xc - bw / 2, yc - bh / 2, xc + bw / 2, yc + bh / 2]
    np.testing.assert_allclose(corners, on_net[0], atol=1e-3)


def test_boxes_outside_are_clipped_to_the_image_for_arrays_and_tensors() -> None:
    geometry = geometry_of((50, 100), (64, 64), "letterbox")
    boxes = torch.tensor([[-5.0, 0, 70, 64], [16, 24, 32, 40]])
    expected = [[0, 0, 100, 50], [25, 12.5, 50, 37.5]]
    assert geometry.to_image(boxes).tolist() == expected
    assert geometry.to_image(boxes.numpy()).tolist() == expected
    assert geometry.to_image(boxes[:0]).shape == (0, 4)


@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
@pytest.mark.parametrize(("h", "w"), [(60, 90), (90, 61), (300, 200), (20, 33)])
def test_pixels_move_as_boxes_do(fit: Fit, h: int, w: int) -> None:
    x1, y1, x2, y2 = w // 4, h // 3, w * 3 // 4, h * 2 // 3
    net, geometry = letterbox(box_picture(h, w, x1, y1, x2, y2), (64, 96), fit)
    assert net.shape == (64, 96, 3)
    (box,) = to_net(geometry, np.array([[x1, y1, x2, y2]], np.float64))
    bright = net[..., 0].astype(float) * (net[..., 0] != GREY)
    mass = bright / bright.sum()
    centre = (mass.sum(0) @ (np.arange(96) + 0.5), mass.sum(1) @ (np.arange(64) + 0.5))
    np.testing.assert_allclose(centre, [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], atol=0.1)
    # A half-pixel slip of the geometry would be seen.
    assert abs(centre[0] - (box[0] + box[2]) / 2 + 0.5) > 0.3
    area = bright.sum() / 255
    assert area == pytest.approx((box[2] - box[0]) * (box[3] - box[1]), rel=0.05)


def test_padding_is_grey_and_centred() -> None:
    net, _ = letterbox(np.zeros((10, 20, 3), np.uint8), (40, 40))
    assert (net[10:30] == 0).all()
    assert (net[:10] == GREY).all()
    assert (net[30:] == GREY).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_below_half_the_size_no_pixel_is_skipped(axis: int) -> None:
    """From 2.5 pixels for one, bilinear would never look at every fifth; an area is a mean of all.

    One axis alone suffices. Down to half the size it is bilinear, as the runtimes do it.
    """
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[(slice(None),) * axis + (slice(2, None, 5),)] = 255
    small = (16, 40) if axis == 0 else (40, 16)
    assert resize(stripes, small).mean() == pytest.approx(255 / 5, abs=1)
    skipped = cv2.resize(stripes, small[::-1], interpolation=cv2.INTER_LINEAR)
    assert not skipped.any()  # what the rule is there for
    image, near = noise_picture(64, 96, 0), (40, 50)
    bilinear = cv2.resize(image, near[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(resize(image, near), bilinear)
    by_area = cv2.resize(image, near[::-1], interpolation=cv2.INTER_AREA)
    assert (by_area != bilinear).any()  # negative control


def test_an_image_of_the_net_size_is_untouched_and_copied() -> None:
    image = noise_picture(32, 64, 0)
    net, geometry = letterbox(image, (32, 64))
    np.testing.assert_array_equal(net, image)
    assert not np.shares_memory(net, image)
    assert geometry == identity((32, 64))


def test_resized_geometry_maps_the_stretched_input() -> None:
    geometry = geometry_of((50, 100), (64, 64), "letterbox")
    boxes = np.array([[10.0, 5, 40, 30]])
    stretched = geometry.resized((96, 32))
    np.testing.assert_allclose(
        to_net(stretched, boxes), to_net(geometry, boxes) * [0.5, 1.5, 0.5, 1.5]
    )
    np.testing.assert_allclose(stretched.to_image(to_net(stretched, boxes)), boxes)


def test_reduced_decoding_accounts_for_the_pixel_that_reaches_out() -> None:
    # 101 rows decoded to ceil(101 / 8) = 13 stand for 104 rows.
    geometry = content_geometry((101, 160), (13, 20), reduction=8)
    assert geometry.scale_yx == (1 / 8, 1 / 8)
    assert content_geometry((101, 160), (13, 20)).scale_yx != geometry.scale_yx
