"""--rules ultralytics: how images are fed and boxes end, beside our own way."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from utils.data.dataset import DetectionDataset
from utils.data.letterbox import Geometry
from utils.data.options import OUR_FEEDING, ULTRALYTICS_FEEDING, fitted_size
from utils.detection.score import counting_of, feeding_of


def one_image(folder: Path, size: tuple[int, int]) -> Path:
    """A list of one JPEG (height, width) of noise, with a label."""
    random = np.random.default_rng(0)
    image = random.integers(0, 255, (*size, 3), np.uint8)
    cv2.imwrite(str(folder / "a.jpg"), image)
    (folder / "a.txt").write_text("0 .5 .5 .5 .5\n")
    listed = folder / "list.txt"
    listed.write_text(f"{folder / 'a.jpg'}\n")
    return listed


def fed(listed: Path, rules: str) -> np.ndarray:
    feeding = feeding_of("ultralytics" if rules == "ultralytics" else "coco")
    image: np.ndarray = DetectionDataset(listed, 1, (64, 64), feeding=feeding)[0].image.numpy()
    return image.transpose(1, 2, 0)


def test_pixels_as_that_library_makes_them(tmp_path: Path) -> None:
    """Whole JPEGs, bilinear even where that skips pixels, sizes rounded up, a border of 114."""
    listed = one_image(tmp_path, (153, 256))  # 38.25 rows at 64 pixels
    whole = cv2.imread(str(tmp_path / "a.jpg"))[..., ::-1]
    expected = np.full((64, 64, 3), 114, np.uint8)
    expected[12:51] = cv2.resize(whole, (64, 39), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(fed(listed, "ultralytics"), expected)
    ours = fed(listed, "coco")
    assert (ours[0] == OUR_FEEDING.grey).all() and (ours[12:51] != expected[12:51]).mean() > 0.5


@pytest.mark.parametrize(("hw", "rounded", "up"), [((153, 256), (38, 64), (39, 64)),
                                                   ((128, 256), (32, 64), (32, 64))])  # fmt: skip
def test_sizes(hw: tuple[int, int], rounded: tuple[int, int], up: tuple[int, int]) -> None:
    assert fitted_size(hw, (64, 64), "letterbox") == rounded
    assert fitted_size(hw, (64, 64), "letterbox", ULTRALYTICS_FEEDING) == up
    assert fitted_size(hw, (64, 64), "stretch", ULTRALYTICS_FEEDING) == (64, 64)


def test_boxes_beyond_the_image() -> None:
    geometry = Geometry((40, 60), (64, 64), (1.0, 1.0), (12.0, 2.0))
    box = np.array([[-3.0, 4, 66, 60]])
    np.testing.assert_array_equal(geometry.beyond_image(box), [[-5, -8, 64, 48]])
    np.testing.assert_array_equal(geometry.to_image(box), [[0, 0, 60, 40]])
    assert counting_of("coco").clipped and not counting_of("ultralytics").clipped
