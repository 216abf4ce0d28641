"""Random changes to training images: mosaic, affine, flip and colour.

Boxes are (n, 5): class, x1, y1, x2, y2 in pixels of the picture at hand. Mosaic, affine and flip
are one matrix and one warp. Every draw comes from the generator passed in; no input is modified.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from .images import Size
from .letterbox import GREY
from .options import AugmentOptions
from .pixels import ByteArray

FloatArray = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]  # (3, 3), acts on column vectors (x, y, 1)
Tile = tuple[ByteArray, FloatArray]  # (h, w, C) no larger than the net input, and its boxes
Window = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels, the last two excluded

MOSAIC_TILES = 4
_READ_AROUND = 3  # pixels: a bilinear warp reads one beyond, and rounds


def augment_mosaic(
    tiles: Sequence[Tile], net_hw: Size, options: AugmentOptions, rng: np.random.Generator
) -> Tile:
    """Four images around a random point of a double-sized canvas, then affine and flip."""
    h, w = net_hw
    corner = round(rng.uniform(0.5, 1.5) * w), round(rng.uniform(0.5, 1.5) * h)
    matrix = _random_matrix((2 * h, 2 * w), net_hw, options, rng)
    canvas, boxes = _mosaic(tiles, net_hw, corner, _seen(matrix, (2 * h, 2 * w), net_hw))
    return _warp(canvas, boxes, matrix, net_hw, options)


def augment_single(
    tile: Tile, net_hw: Size, options: AugmentOptions, rng: np.random.Generator
) -> Tile:
    """One image, centred on grey, then affine and flip."""
    image, boxes = tile
    matrix = _random_matrix((image.shape[0], image.shape[1]), net_hw, options, rng)
    return _warp(image, boxes, matrix, net_hw, options)


def augment_colour(
    image: ByteArray, options: AugmentOptions, rng: np.random.Generator
) -> ByteArray:
    """Turn the hue, multiply saturation and value; returns a new picture.

    Only three channels have a hue: of others, all are multiplied as the value is.
    """
    hue, saturation, value = rng.uniform(-1, 1, 3) * (options.hsv_h, options.hsv_s, options.hsv_v)
    if not (options.hsv_h or options.hsv_s or options.hsv_v):
        return image
    level = np.arange(256)
    brighter = np.clip(np.rint(level * (1 + value)), 0, 255).astype(np.uint8)
    if image.shape[2] != 3:
        return np.asarray(brighter[image], np.uint8)
    table = np.empty((1, 256, 3), np.uint8)
    table[0, :, 0] = (
        np.rint(level + hue * 180) % 180
    )  # OpenCV holds a hue of 0..360 degrees as 0..179
    table[0, :, 1] = np.clip(np.rint(level * (1 + saturation)), 0, 255)
    table[0, :, 2] = brighter
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), table)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB, dst=hsv), np.uint8)


def transform_boxes(boxes: FloatArray, matrix: Matrix) -> FloatArray:
    """The upright boxes around the transformed corners of `boxes` (n, 5)."""
    x, y = boxes[:, [1, 3, 3, 1]], boxes[:, [2, 2, 4, 4]]  # (n, 4) corners
    moved_x = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
    moved_y = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
    sides = (moved_x.min(1), moved_y.min(1), moved_x.max(1), moved_y.max(1))
    return np.stack((boxes[:, 0], *sides), axis=1).astype(np.float32)


def visible_boxes(
    boxes: FloatArray, from_hw: Size, matrix: Matrix, net_hw: Size, options: AugmentOptions
) -> FloatArray:
    """Boxes (n, 5) on a picture of `from_hw`, after `matrix`, clipped to a picture of `net_hw`.

    What the first picture cuts off is not visible either. The rule that drops boxes is
    AugmentOptions'; the shares are of the areas of upright boxes around the transformed ones.
    """
    shown = _clip(boxes, from_hw)
    whole, moved = np.split(transform_boxes(np.concatenate((boxes, shown)), matrix), 2)
    whole_px = _sides(whole).prod(1)
    inside = _clip(moved, net_hw)
    sides_px = _sides(inside)
    # A box wholly cut off by the first picture is a line there, which a rotation would widen again.
    keep = (_sides(shown) > 0).all(1) & (sides_px > 0).all(1)
    keep &= sides_px.prod(1) >= options.min_visible * whole_px
    keep &= (sides_px >= options.min_side_px).all(1)
    return np.asarray(inside[keep], np.float32)


def _sides(boxes: FloatArray) -> FloatArray:
    return boxes[:, 3:5] - boxes[:, 1:3]


def _clip(boxes: FloatArray, hw: Size) -> FloatArray:
    h, w = hw
    least = np.maximum(boxes, np.float32(0))
    return np.asarray(np.minimum(least, np.array([np.inf, w, h, w, h], np.float32)))


def _seen(matrix: Matrix, from_hw: Size, net_hw: Size) -> Window:
    """The part of a picture of `from_hw` that `matrix` brings into one of `net_hw`."""
    h, w = net_hw
    corners = np.array([[0, w, w, 0], [0, 0, h, h], [1, 1, 1, 1]], np.float64)
    x, y = (np.linalg.inv(matrix) @ corners)[:2]
    x1, y1 = (max(math.floor(side.min()) - _READ_AROUND, 0) for side in (x, y))
    x2 = min(math.ceil(x.max()) + _READ_AROUND, from_hw[1])
    y2 = min(math.ceil(y.max()) + _READ_AROUND, from_hw[0])
    return x1, y1, max(x1, x2), max(y1, y2)


def _mosaic(tiles: Sequence[Tile], net_hw: Size, corner: tuple[int, int], seen: Window) -> Tile:
    """Canvas (2H, 2W, C) of grey with one tile in each corner of a point (x, y), and all boxes.

    Boxes may reach beyond the canvas where their tile does. Only what is `seen` of the canvas is
    drawn: what lies around it is anything, and nobody reads it.
    """
    h, w = net_hw
    canvas = np.empty((2 * h, 2 * w, tiles[0][0].shape[2]), np.uint8)
    left_seen, top_seen, right_seen, bottom_seen = seen
    canvas[top_seen:bottom_seen, left_seen:right_seen] = GREY
    x, y = corner
    placed = []
    for position, (image, boxes) in enumerate(tiles):
        tile_h, tile_w = image.shape[:2]
        left = x if position % 2 else x - tile_w
        top = y if position >= 2 else y - tile_h
        x1, y1 = max(left, left_seen), max(top, top_seen)
        x2, y2 = min(left + tile_w, right_seen), min(top + tile_h, bottom_seen)
        if x1 < x2 and y1 < y2:
            canvas[y1:y2, x1:x2] = image[y1 - top : y2 - top, x1 - left : x2 - left]
        placed.append(boxes + np.array([0, left, top, left, top], np.float32))
    return canvas, np.concatenate(placed)


def _random_matrix(
    from_hw: Size, net_hw: Size, options: AugmentOptions, rng: np.random.Generator
) -> Matrix:
    """Centre of `from_hw` to centre of the net input, with a random affine and flip between.

    Draws the same numbers whatever the options are, so that one knob does not change the others.
    """
    angle, gain, shear_x, shear_y, shift_x, shift_y = rng.uniform(-1, 1, 6)
    flip = -1.0 if rng.random() < options.flip_share else 1.0
    turn, size = math.radians(angle * options.degrees), 1 + gain * options.scale
    shear = math.tan(math.radians(options.shear))
    cos, sin = size * math.cos(turn), size * math.sin(turn)
    linear = np.array([[flip, 0], [0, 1]]) @ [[cos, sin], [-sin, cos]]
    linear = linear @ [[1, shear_x * shear], [shear_y * shear, 1]]
    # Whole pixels, so that a picture that is only padded or cropped is not resampled.
    centre = np.array([from_hw[1] / 2, from_hw[0] / 2])
    target = np.array([net_hw[1] / 2, net_hw[0] / 2])
    shift = np.array([shift_x * net_hw[1], shift_y * net_hw[0]]) * options.translate
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = target - linear @ centre + shift
    if not options.has_affine:
        matrix[:2, 2] = np.floor(matrix[:2, 2])
    return matrix


def _warp(
    image: ByteArray, boxes: FloatArray, matrix: Matrix, net_hw: Size, options: AugmentOptions
) -> Tile:
    # OpenCV's coordinates name pixel centres, ours pixel corners: half a pixel apart.
    index = matrix[:2].copy()
    index[:, 2] += matrix[:2, :2].sum(1) * 0.5 - 0.5
    warped = cv2.warpAffine(
        image,
        index,
        (net_hw[1], net_hw[0]),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(GREY,) * 4,
    )
    from_hw = (image.shape[0], image.shape[1])
    # OpenCV drops the axis of a single channel.
    picture = np.asarray(warped, np.uint8).reshape(*net_hw, -1)
    return picture, visible_boxes(boxes, from_hw, matrix, net_hw, options)
