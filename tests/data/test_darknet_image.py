"""Darknet's own resize against its loops, and its letterbox against images that it made."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.support.darknet_image import darknet_input, darknet_resize

Image = NDArray[np.float32]


def written_out(image: Image, height: int, width: int) -> Image:
    """`resize_image` of one channel (h, w): first along the rows, then along the columns."""
    h, w = image.shape
    part = np.zeros((h, width), np.float32)
    for c in range(width):
        x = c * (w - 1) / (width - 1)
        left = int(x)
        if c == width - 1:
            part[:, c] = image[:, -1]
        else:
            part[:, c] = (1 - (x - left)) * image[:, left] + (x - left) * image[:, left + 1]
    out = np.zeros((height, width), np.float32)
    for r in range(height):
        y = r * (h - 1) / (height - 1)
        top = int(y)
        out[r] = (1 - (y - top)) * part[top]
        if r < height - 1:
            out[r] += (y - top) * part[top + 1]
    return out


@pytest.mark.parametrize("size", [(5, 7), (24, 18), (9, 40), (12, 16)])
def test_resize(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((12, 16), dtype=np.float32)
    ours = darknet_resize(torch.from_numpy(image)[None, None], size)[0, 0].numpy()
    np.testing.assert_allclose(ours, written_out(image, *size), atol=1e-6)
    if size != image.shape:  # OpenCV's corners lie half a pixel farther out
        assert np.abs(ours - cv2.resize(image, size[::-1])).max() > 0.01


def test_letterbox_is_where_darknet_puts_it(shared: Path) -> None:
    made = np.load(shared / "golden" / "real" / "inputs.npz")
    for subject in ("dog", "person"):
        width, height = made[f"{subject}_wh"].tolist()
        theirs = made[f"{subject}_letter"]
        black = np.zeros((height, width, 3), np.uint8)
        ours = darknet_input(black, (320, 320), "letterbox")[0]
        inside = (ours == 0).all(0).numpy()
        grey = np.rint(ours.numpy() * 255)[:, ~inside]
        assert 0.5 < inside.mean() < 1
        assert set(grey.ravel()) == {128}
        assert (theirs[~inside] == 128).all()
        # The image reaches to the border that we compute.
        first, last = np.flatnonzero(inside.any(1))[[0, -1]]
        assert not (theirs[first] == 128).all()
        assert not (theirs[last] == 128).all()


def test_the_image_itself() -> None:
    image = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    x = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    assert torch.equal(darknet_input(image, (30, 40), "stretch"), x)
    boxed = darknet_input(image, (40, 45), "letterbox")
    assert boxed.shape == (1, 3, 40, 45)
    # 45 * 30 // 40 = 33 rows, below 3 of grey
    torch.testing.assert_close(boxed[:, :, 3:36], darknet_resize(x, (33, 45)))
    assert (boxed[:, :, :3] == 0.5).all()
    assert (boxed[:, :, 36:] == 0.5).all()
