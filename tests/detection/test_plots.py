"""The pictures beside an evaluation: their numbers against a count by hand, and their files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.tiny_data import make_set
from utils.data.dataset import DetectionDataset
from utils.detection.evaluate import Collected
from utils.detection.metrics import Boxes, match_detections, score_detections
from utils.detection.plots.confusion import confusion
from utils.detection.plots.curves import score_curves
from utils.detection.plots.write import write_plots
from utils.detection.results import Seconds


def boxes(*rows: tuple[int, int, float, float]) -> Boxes:
    """(image, class, left, score): squares of 10 pixels."""
    image, label, left, score = map(np.array, zip(*rows, strict=True))
    corner = np.stack((left, left * 0, left + 10, left * 0 + 10), axis=1).astype(float)
    return Boxes(image, label, corner, score.astype(float))


TARGETS = boxes((0, 0, 0, 1), (0, 1, 50, 1), (1, 1, 0, 1), (1, 1, 80, 1))
FOUND = boxes(
    (0, 0, 1, 0.9),  # right
    (0, 0, 50, 0.8),  # a 1 taken for a 0
    (1, 1, 0, 0.7),  # right
    (1, 1, 30, 0.6),  # nothing is there
    (1, 1, 1, 0.2),  # the same one again
)


def test_the_confusion_matrix_counts_what_is_taken_for_what() -> None:
    assert confusion(FOUND, TARGETS, 2, 0.5).tolist() == [[1, 1, 0], [0, 1, 1], [0, 1, 0]]
    assert confusion(FOUND, TARGETS, 2, 0.1).tolist() == [[1, 1, 0], [0, 1, 2], [0, 1, 0]]
    assert confusion(FOUND, TARGETS, 2, 0.95).tolist() == [[0, 0, 0], [0, 0, 0], [1, 3, 0]]


def test_a_target_is_taken_by_the_detection_that_lies_best_on_it() -> None:
    near = boxes((0, 1, 3, 0.9), (0, 0, 0, 0.5))
    assert confusion(near, boxes((0, 0, 0, 1)), 2, 0.1).tolist() == [
        [1, 0, 0], [0, 0, 1], [0, 0, 0],
    ]  # fmt: skip


def test_curves_are_those_of_a_count_at_each_confidence() -> None:
    curves = score_curves(match_detections(FOUND, TARGETS, 2))
    assert curves.classes.tolist() == [0, 1]
    assert curves.confidence[-1] == 0.9
    at = int(np.searchsorted(curves.confidence, 0.65))
    assert curves.precision[:, at].tolist() == [0.5, 1.0]
    assert curves.recall[:, at] == pytest.approx([1, 1 / 3])
    assert curves.f1[:, at] == pytest.approx([2 / 3, 0.5])
    assert np.isnan(curves.precision[1, -1])  # nothing of class 1 at .9
    ap = score_detections(FOUND, TARGETS, 2).ap[:, 0]
    assert curves.envelope.mean(axis=1) == pytest.approx(ap)


@pytest.mark.parametrize("nothing", ["", "found", "there"])
def test_plots_are_written_whatever_is_found(tmp_path: Path, nothing: str) -> None:
    make_set(tmp_path)
    images = DetectionDataset(tmp_path / "list.txt", 2, (32, 32))
    if nothing == "there":
        images.samples = tuple(replace(s, labels=s.labels[:0]) for s in images.samples)
    none = Boxes.of([], [])
    found, there = none if nothing == "found" else FOUND, none if nothing == "there" else TARGETS
    out = tmp_path / "out"
    out.mkdir()
    write_plots(
        out, Collected(found, there, 2, Seconds(0, 0, 0, 0)), images, ["_$\\oops$", "\u732b"]
    )
    names = {path.name for path in out.iterdir()}
    curves = {f"{name}_curve.png" for name in ("PR", "P", "R", "F1")}
    others = {"confusion_matrix.png", "val_batch0_labels.jpg", "val_batch0_pred.jpg"}
    assert names == others | (set() if nothing == "there" else curves)
    assert all(cv2.imread(str(path)) is not None for path in out.iterdir())
    drawn, bare = (cv2.imread(str(out / f"val_batch0_{n}.jpg")) for n in ("pred", "labels"))
    assert drawn.shape == bare.shape
