"""A data set's labels as a picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from utils.pictures.detections import class_colour
from utils.pictures.labelled import encoded, labelled_picture, sheet


def image_file(folder: Path) -> Path:
    path = folder / "a.png"
    cv2.imwrite(str(path), np.zeros((50, 100, 3), np.uint8))
    return path


def test_a_box_lies_where_its_label_says(tmp_path: Path) -> None:
    rows = np.array([[1, 0.5, 0.5, 0.5, 0.4]])
    drawn = labelled_picture(image_file(tmp_path), rows, ["a", "b"], side_px=400)
    assert drawn.shape == (200, 400, 3)
    assert np.abs(drawn[100, 100].astype(int) - class_colour(1)).max() < 40  # its left side
    assert drawn[100, 200].max() == 0  # its middle
    assert drawn[20, 50].max() == 0
    bare = labelled_picture(image_file(tmp_path), rows[:0], ["a", "b"], side_px=400)
    assert bare.max() == 0


def test_a_sheet_holds_each_picture_in_rows_with_gaps() -> None:
    grey = [np.full((h, 20, 3), v, np.uint8) for h, v in ((10, 40), (30, 80), (10, 120))]
    whole = sheet(grey, columns=2)
    assert whole.shape == (8 + 30 + 8 + 10 + 8, 8 + 28 * 2, 3)
    for value, picture in zip((40, 80, 120), grey, strict=True):
        assert (whole == value).all(2).sum() == picture.shape[0] * 20
    assert (whole[0] == 255).all()
    decoded = cv2.imdecode(np.frombuffer(encoded(whole, ".png"), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert (decoded[..., ::-1] == whole).all()
