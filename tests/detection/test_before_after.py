"""What of two networks' detections is right, image by image."""

from __future__ import annotations

import math

import numpy as np
import pytest

from utils.data.detections import Detections
from utils.detection.before_after import Seen, judged, usual_or
from utils.pictures.detections import draw_dashed

LABELS = [(0, 0, 10, 10, 0), (20, 0, 30, 10, 1)]


def boxes(rows: list[tuple[float, ...]], scores: list[float] | None = None) -> Detections:
    table = np.array(rows, np.float64).reshape(-1, 5)
    given = np.array(scores if scores is not None else [1.0] * len(rows))
    return Detections(table[:, :4], given, table[:, 4].astype(np.int64))


@pytest.mark.parametrize(
    ("found", "scores", "met_and_false"),
    [
        (LABELS, [0.9, 0.8], (2, 0)),
        ([], [], (0, 0)),
        ([(0, 0, 10, 10, 1)], [0.9], (0, 1)),  # another class
        ([(0, 0, 10, 10, 0), (0, 0, 10, 9, 0)], [0.9, 0.8], (1, 1)),  # a label is met once
        ([(0, 0, 10, 5, 0)], [0.9], (1, 0)),  # an IoU of .5 is enough
        ([(0, 0, 10, 4.9, 0)], [0.9], (0, 1)),
        ([(0, 0, 10, 6, 0), (0, 0, 10, 10, 0)], [0.3, 0.4], (1, 1)),
    ],
)
def test_objects_met_and_false_ones(
    found: list[tuple[float, ...]], scores: list[float], met_and_false: tuple[int, int]
) -> None:
    assert judged(boxes(found, scores), boxes(LABELS)) == met_and_false


def test_it_is_said_in_words() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    assert Seen(picture, 2, 1).said(4) == "2 of 4 objects, 1 false"
    assert Seen(picture, 0, 0).said(1) == "0 of 1 object, 0 false"


def test_the_threshold_is_that_of_the_best_f1_where_it_is_known() -> None:
    assert usual_or(0.41) == 0.41
    assert usual_or(None) == usual_or(math.nan) == 0.25


def test_labels_are_dashed() -> None:
    grey = np.full((40, 60, 3), 128, np.uint8)
    drawn = draw_dashed(grey, boxes([(5, 5, 50, 30, 0)]))
    line = drawn[5, 5:50, 0]
    assert set(line.tolist()) == {255, 30}
    assert (drawn[10:25, 10:45] == 128).all()
    assert (grey == 128).all()
