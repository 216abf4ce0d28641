"""Random changes: pixels and boxes move together, and every draw is the generator's."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.tiny_data import box_picture, centre_of_light, noise_picture
from utils.command.errors import UserError
from utils.command.flag_fields import from_flags
from utils.data import augment as augment_module
from utils.data.augment import (
    Tile,
    augment_colour,
    augment_mosaic,
    augment_single,
    transform_boxes,
    visible_boxes,
)
from utils.data.letterbox import GREY
from utils.data.options import AugmentOptions
from utils.data.pixels import ByteArray

NET = (96, 128)
OFF = AugmentOptions(**{knob.name: 0.0 for knob in fields(AugmentOptions)})
STRONG = AugmentOptions(degrees=30, translate=0.1, scale=0.3, shear=10, min_side_px=0)


def tile(h: int, w: int, box: tuple[int, int, int, int], number: int = 0) -> Tile:
    return box_picture(h, w, *box), np.array([[number, *box]], np.float32)


def bright_box(image: np.ndarray) -> list[int]:
    """The extent x1, y1, x2, y2 of the pixels well above grey."""
    y, x = np.nonzero(image[..., 0] > 192)
    return [x.min(), y.min(), x.max() + 1, y.max() + 1]


# Pixels and boxes


@settings(max_examples=60)
@given(st.integers(0, 10**6))
def test_single_image_boxes_follow_the_pixels(seed: int) -> None:
    own = tile(72, 100, (35, 25, 70, 50), number=2)
    image, boxes = augment_single(own, NET, STRONG, np.random.default_rng(seed))
    assert image.shape == (*NET, 3)
    assert boxes[:, 0].tolist() == [2]
    # A rotated corner is thin: where it falls below half coverage the pixels end earlier.
    np.testing.assert_allclose(boxes[0, 1:], bright_box(image), atol=2.5)


def test_box_and_pixels_agree_below_a_pixel() -> None:
    options = replace(OFF, translate=0.2, scale=0.4)
    slips = []
    for seed in range(20):
        own = tile(72, 100, (35, 25, 70, 50))
        image, boxes = augment_single(own, NET, options, np.random.default_rng(seed))
        slips.append(centre_of_light(image, boxes[0, 1:]) - (boxes[0, 1:3] + boxes[0, 3:5]) / 2)
    assert np.abs(slips).max() < 0.25
    assert np.abs(np.mean(slips)) < 0.1  # without the half pixel this is 0.5 x (1 - mean scale)


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_mosaic_boxes_follow_the_pixels(seed: int) -> None:
    # One bright box in one of four tiles: what is left of it must be where the label says.
    place = seed % 4
    dark = (np.zeros((72, 128, 3), np.uint8), np.zeros((0, 5), np.float32))
    tiles = [dark] * 4
    tiles[place] = tile(96, 100, (30, 30, 60, 70), number=1)
    options = replace(STRONG, degrees=0, shear=0, min_visible=0.2)
    image, boxes = augment_mosaic(tiles, NET, options, np.random.default_rng(seed))
    assert image.shape == (*NET, 3)
    if len(boxes):
        np.testing.assert_allclose(boxes[0, 1:], bright_box(image), atol=1.5)
    else:
        left = (image[..., 0] > 192).sum()
        assert left < 0.25 * 30 * 40 * 1.3**2


@pytest.mark.parametrize("options", [STRONG, AugmentOptions(), replace(AugmentOptions(), scale=0)])
def test_a_mosaic_of_which_only_the_seen_part_is_drawn_has_the_same_pixels(
    options: AugmentOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = [(noise_picture(96, 128, i), np.zeros((0, 5), np.float32)) for i in range(4)]
    seen, sizes = augment_module._seen, []

    def pictures(window: Callable[..., augment_module.Window]) -> list[ByteArray]:
        monkeypatch.setattr(augment_module, "_seen", window)
        made = (augment_mosaic(tiles, NET, options, np.random.default_rng(k)) for k in range(60))
        return [image for image, _ in made]

    def counted(*given: Any) -> augment_module.Window:
        x1, y1, x2, y2 = seen(*given)
        sizes.append((x2 - x1) * (y2 - y1))
        return x1, y1, x2, y2

    def smaller(*given: Any) -> augment_module.Window:
        x1, y1, x2, y2 = seen(*given)
        return x1 + 8, y1, x2, y2

    whole = pictures(lambda _matrix, hw, _net: (0, 0, hw[1], hw[0]))
    part = pictures(counted)
    assert all(np.array_equal(a, b) for a, b in zip(whole, part, strict=True))
    assert np.mean(sizes) < 0.9 * 4 * NET[0] * NET[1]
    # Negative control: what is read and not drawn shows.
    cut = pictures(smaller)
    assert any(not np.array_equal(a, b) for a, b in zip(whole, cut, strict=True))


def test_a_wrong_label_is_noticed() -> None:
    # Negative control of the comparisons above.
    image, boxes = tile(72, 100, (35, 25, 70, 50))
    moved = (image, boxes + np.array([0, 4, 0, 4, 0], np.float32))
    warped, found = augment_single(moved, NET, OFF, np.random.default_rng(0))
    assert np.abs(found[0, 1:] - bright_box(warped)).max() > 3


def test_without_options_only_padding_happens() -> None:
    picture = noise_picture(71, 101, 3)
    boxes = np.array([[1, 10, 20, 30, 40]], np.float32)
    image, moved = augment_single((picture, boxes), NET, OFF, np.random.default_rng(0))
    top, left = (96 - 71) // 2, (128 - 101) // 2
    np.testing.assert_array_equal(image[top : top + 71, left : left + 101], picture)
    assert (image[:top] == GREY).all()
    np.testing.assert_allclose(moved[0, 1:], [10 + left, 20 + top, 30 + left, 40 + top])


def test_flip_mirrors_pixels_and_boxes() -> None:
    own = (noise_picture(*NET, 0), np.array([[0, 5, 10, 40, 50]], np.float32))
    image, boxes = augment_single(own, NET, replace(OFF, flip=1), np.random.default_rng(0))
    np.testing.assert_array_equal(image, own[0][:, ::-1])
    assert boxes.tolist() == [[0, 128 - 40, 10, 128 - 5, 50]]


def test_mosaic_of_empty_tiles_has_no_boxes() -> None:
    empty = [(noise_picture(60, 128, i), np.zeros((0, 5), np.float32)) for i in range(4)]
    _, boxes = augment_mosaic(empty, NET, AugmentOptions(), np.random.default_rng(0))
    assert boxes.shape == (0, 5)
    some = [*empty[:3], tile(96, 128, (1, 1, 127, 95))]
    counts = {
        len(augment_mosaic(some, NET, AugmentOptions(), np.random.default_rng(seed))[1])
        for seed in range(20)
    }
    assert counts <= {0, 1}
    assert 1 in counts
    # With an unreadable tile fewer than four come.
    assert augment_mosaic(some[3:], NET, OFF, np.random.default_rng(0))[0].shape == (*NET, 3)


def test_inputs_are_never_modified() -> None:
    tiles = [
        (noise_picture(96, 128, i), np.array([[0, 3, 4, 60, 70]], np.float32)) for i in range(4)
    ]
    before = [(image.copy(), boxes.copy()) for image, boxes in tiles]
    for image, boxes in tiles:
        image.flags.writeable = boxes.flags.writeable = False
    for seed in range(5):
        rng = np.random.default_rng(seed)
        image, _ = augment_mosaic(tiles, NET, STRONG, rng)
        augment_single(tiles[0], NET, OFF, rng)
        augment_colour(image, STRONG, rng)
        augment_colour(tiles[0][0], STRONG, rng)
    for (image, boxes), (old_image, old_boxes) in zip(tiles, before, strict=True):
        np.testing.assert_array_equal(image, old_image)
        np.testing.assert_array_equal(boxes, old_boxes)


# Which boxes stay


def test_boxes_mostly_outside_or_too_thin_are_dropped() -> None:
    options = replace(OFF, min_visible=0.3, min_side_px=4)
    shift = np.eye(3)
    shift[0, 2] = -50
    boxes = np.array(
        [
            [0, 0, 0, 40, 40],  # wholly outside
            [1, 30, 0, 58, 40],  # 8 of 28 pixels left: below 0.3
            [2, 30, 0, 60, 40],  # 10 of 30: stays
            [3, 60, 10, 63, 40],  # 3 pixels wide
            [4, 60, 10, 64, 14],  # 4 by 4: stays
        ],
        np.float32,
    )
    kept = visible_boxes(boxes, NET, shift, NET, options)
    assert kept[:, 0].tolist() == [2, 4]
    assert kept[0, 1:].tolist() == [0, 0, 10, 40]
    loose = visible_boxes(boxes, NET, shift, NET, OFF)
    assert loose[:, 0].tolist() == [1, 2, 3, 4]


def test_what_the_canvas_cuts_off_is_not_visible_after_shrinking() -> None:
    # Half of the box is beyond the first picture; shrinking would make room for the label there.
    half = np.diag([0.5, 0.5, 1.0])
    box = np.array([[0, 100, 20, 156, 60]], np.float32)
    kept = visible_boxes(box, NET, half, NET, replace(OFF, min_visible=0.4))
    assert kept.tolist() == [[0, 50, 10, 64, 30]]
    assert len(visible_boxes(box, NET, half, NET, replace(OFF, min_visible=0.6))) == 0
    # A box wholly cut off stays away even when a rotation would give its edge an area.
    turn = np.array([[0.8, -0.6, 20], [0.6, 0.8, 0], [0, 0, 1]])
    gone = np.array([[0, -30, 20, 0, 60]], np.float32)
    assert len(visible_boxes(gone, NET, turn, NET, OFF)) == 0


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(0, 12))
def test_boxes_are_moved_all_at_once_as_one_by_one(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 60, (count, 2))
    boxes = np.hstack((rng.integers(0, 5, (count, 1)), low, low + rng.uniform(1, 60, (count, 2))))
    boxes = boxes.astype(np.float32)
    matrix = np.eye(3)
    matrix[:2] = rng.uniform(-1, 1, (2, 3)) * [1, 1, 40]
    together = visible_boxes(boxes, NET, matrix, NET, AugmentOptions())
    alone = [visible_boxes(b[None], NET, matrix, NET, AugmentOptions()) for b in boxes]
    np.testing.assert_array_equal(together, np.concatenate([*alone, np.zeros((0, 5), np.float32)]))
    for box, moved in zip(boxes, transform_boxes(boxes, matrix), strict=True):
        corners = [(x, y, 1) for x in box[[1, 3]] for y in box[[2, 4]]]
        points = np.array(corners) @ matrix[:2].T
        np.testing.assert_allclose(
            moved[1:], [*points.min(0), *points.max(0)], rtol=1e-5, atol=1e-4
        )


# Colour


def test_hue_wraps_around() -> None:
    # Reds lie at both ends of the hue scale: turned a little, they stay reds and do not stick at 0.
    hsv = np.zeros((1, 180, 3), np.uint8)
    hsv[0, :, 0] = np.arange(180)
    hsv[..., 1:] = 255
    rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    options = replace(OFF, hsv_h=0.5)
    turns = set()
    for seed in range(8):
        turned = augment_colour(rgb, options, np.random.default_rng(seed))
        hue = cv2.cvtColor(turned, cv2.COLOR_RGB2HSV)[0, :, 0].astype(int)
        turn = (hue - np.arange(180)) % 180
        middle = int(np.median(turn))
        assert (np.abs((turn - middle + 90) % 180 - 90) <= 1).all()
        turns.add(middle)
    assert len(turns) > 4


def test_colour_changes_stay_in_their_knob() -> None:
    picture = noise_picture(32, 32, 1)
    rng = np.random.default_rng(0)
    assert augment_colour(picture, OFF, rng) is picture
    grey = np.full((4, 4, 3), 100, np.uint8)
    for seed in range(10):
        value = augment_colour(grey, replace(OFF, hsv_v=0.4), np.random.default_rng(seed))
        assert 59 <= value.min() <= value.max() <= 141
        # Grey has no colour to turn or to strengthen.
        tinted = augment_colour(grey, replace(OFF, hsv_h=0.5, hsv_s=1), np.random.default_rng(seed))
        np.testing.assert_array_equal(tinted, grey)


# Options and draws


def test_same_generator_same_result_other_generator_another() -> None:
    tiles = [(noise_picture(96, 128, i), np.zeros((0, 5), np.float32)) for i in range(4)]

    def made(seed: int) -> np.ndarray:
        return augment_mosaic(tiles, NET, STRONG, np.random.default_rng(seed))[0]

    np.testing.assert_array_equal(made(1), made(1))
    assert (made(1) != made(2)).any()


def test_flags_give_the_options_and_ranges_are_checked() -> None:
    parser = argparse.ArgumentParser()
    AugmentOptions.add_flags(parser)
    args = parser.parse_args(["--degrees", "5", "--mosaic", "0"])
    assert from_flags(AugmentOptions, vars(args)) == AugmentOptions(degrees=5, mosaic=0)
    assert from_flags(AugmentOptions, vars(parser.parse_args([]))) == AugmentOptions()
    for knob in fields(AugmentOptions):
        for value in (-0.1, float("nan"), 1e9):
            with pytest.raises(UserError, match=f"--{knob.name} "):
                AugmentOptions(**{knob.name: value})
