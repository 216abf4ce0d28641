"""From files of any depth and number of channels to what the network reads."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.tiny_data import make_set, noise_picture
from utils.data import pixels as pixels_module
from utils.data.dataset import DetectionDataset
from utils.data.images import UnreadableImageError, read_image
from utils.data.loader import make_loader
from utils.data.options import AugmentOptions
from utils.data.pixels import PixelError, to_8_bits


@pytest.fixture(autouse=True)
def _told_anew() -> None:
    pixels_module._tell.cache_clear()


def write(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


@pytest.mark.parametrize(("bits", "told"), [(8, True), (12, True), (16, False)])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_values_of_8_12_and_16_bits_in_16_keep_their_range(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bits: int, told: bool, suffix: str
) -> None:
    grey = np.linspace(0, 2**bits - 1, 64 * 64).astype(np.uint16).reshape(64, 64)
    path = write(tmp_path / f"a{suffix}", grey)
    with caplog.at_level(logging.WARNING):
        found = read_image(path)
        again = read_image(path)
    np.testing.assert_array_equal(found[..., 0], grey >> (bits - 8))
    np.testing.assert_array_equal(found, again)
    assert (found.min(), found.max()) == (0, 255)
    assert len(caplog.records) == told  # once, not once an image


@pytest.mark.parametrize(("highest", "factor"), [(1.0, 255), (200.0, 1)])
def test_floats_are_shares_or_levels(tmp_path: Path, highest: float, factor: float) -> None:
    image = np.linspace(0, highest, 64, dtype=np.float32).reshape(8, 8)
    found = read_image(write(tmp_path / "a.tiff", image))
    np.testing.assert_allclose(found[..., 0], image * factor, atol=0.51)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.5, 300.0])
def test_numbers_without_a_range_are_refused(bad: float) -> None:
    with pytest.raises(PixelError, match=r"neither 0\.\.1 nor 0\.\.255"):
        to_8_bits(np.array([[0.0, bad]], np.float32))
    with pytest.raises(PixelError, match="no known range"):
        to_8_bits(np.zeros((2, 2), np.int32))


def test_grey_is_what_opencv_calls_grey(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", noise_picture(20, 30, 1))
    found = read_image(path, channels=1)
    assert found.shape == (20, 30, 1)
    np.testing.assert_array_equal(found[..., 0], cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    jpeg = write(tmp_path / "a.jpg", noise_picture(20, 30, 1))
    assert read_image(jpeg, 2, channels=1).shape == (10, 15, 1)


def test_four_bands_stay_four_and_other_counts_are_told(tmp_path: Path) -> None:
    bands = np.random.default_rng(0).integers(0, 255, (9, 7, 4), dtype=np.uint8)
    path = write(tmp_path / "a.png", bands)
    np.testing.assert_array_equal(read_image(path, channels=4), bands[..., [2, 1, 0, 3]])
    plain = write(tmp_path / "b.png", bands[..., :3])
    with pytest.raises(UnreadableImageError, match="has 3 channels, but the cfg asks for 4"):
        read_image(plain, channels=4)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("cache", [False, True])
def test_batches_have_the_channels_asked_for(tmp_path: Path, channels: int, cache: bool) -> None:
    path = make_set(tmp_path)
    for file in (tmp_path / "images").iterdir():
        bands = np.random.default_rng(1).integers(0, 255, (24, 32, 4), dtype=np.uint8)
        write(file, bands if channels == 4 else bands[..., :3])
    options = AugmentOptions(degrees=10)
    dataset = DetectionDataset(path, 3, (32, 32), augment=options, cache=cache, channels=channels)
    for batch in make_loader(dataset, 2, 0):
        assert batch.images.shape[1:] == (channels, 32, 32)
    plain = DetectionDataset(path, 3, (32, 32), cache=cache, channels=channels)
    image = plain[0].image
    assert image.shape == (channels, 32, 32)
    assert (image[:, 0] == 128).all()  # padding
