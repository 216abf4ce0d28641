"""The labelled boxes of a picture, and the pixels that a network takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from utils.data.detections import Detections
from utils.data.letterbox import letterbox, picture_input, unit_range
from utils.detection.metrics import Boxes

TWO = Detections(
    np.array([[0.0, 2, 10, 12], [4, 4, 6, 8]]), np.array([0.75, 0.5]), np.array([2, 0])
)
NONE = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))


def test_they_are_counted_and_listed() -> None:
    assert (len(TWO), len(NONE), list(NONE)) == (2, 0, [])
    assert list(TWO) == [([0.0, 2.0, 10.0, 12.0], 0.75, 2), ([4.0, 4.0, 6.0, 8.0], 0.5, 0)]
    assert all(isinstance(label, int) for _, _, label in TWO)


def test_boxes_move_and_the_rest_stays() -> None:
    picture = np.zeros((20, 40, 3), np.uint8)
    _, geometry = letterbox(picture, (64, 64))
    scale, offset = (
        np.array([*pair[::-1]] * 2) for pair in (geometry.scale_yx, geometry.offset_yx)
    )
    back = TWO.moved(lambda boxes: boxes * scale + offset).moved(geometry.to_image)
    np.testing.assert_allclose(back.boxes_xyxy_px, TWO.boxes_xyxy_px, atol=1e-9)
    twice = TWO.scaled(2)
    assert twice.boxes_xyxy_px.tolist() == [[0, 4, 20, 24], [8, 8, 12, 16]]
    assert TWO.boxes_xyxy_px[0, 3] == 12  # the one that was asked is as it was
    for other in (back, twice):
        assert other.scores is TWO.scores and other.classes is TWO.classes


def test_boxes_of_many_pictures_lie_side_by_side() -> None:
    found = Boxes.of([7, 3, 5], [TWO, NONE, TWO.scaled(3)])
    assert found.image.tolist() == [7, 7, 5, 5]
    assert found.label.tolist() == [2, 0, 2, 0]
    assert found.score.tolist() == [0.75, 0.5] * 2
    assert found.xyxy.tolist() == [*TWO.boxes_xyxy_px.tolist(), [0, 6, 30, 36], [12, 12, 18, 24]]
    empty = Boxes.of([], [])
    assert empty.xyxy.shape == (0, 4) and empty.image.dtype == empty.label.dtype == np.int64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_bytes_become_shares(dtype: torch.dtype) -> None:
    every = torch.arange(256, dtype=torch.uint8)
    found = unit_range(every, dtype)
    assert found.dtype == dtype
    assert torch.equal(found, every.to(dtype) / 255)
    assert (found[0], found[255]) == (0, 1)


def test_a_picture_is_a_batch_of_one() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    images = picture_input(picture)
    assert images.shape == (1, 3, 4, 6) and images.dtype == torch.float32
    for channel in range(3):
        assert np.array_equal(images[0, channel].numpy(), picture[..., channel] / np.float32(255))
