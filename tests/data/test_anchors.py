"""k-means anchors: what they find, how they are handed to the heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.command.errors import UserError
from utils.data.anchors import best_iou, box_sizes_px, cluster_anchors, measure_fit
from utils.data.samples import Sample
from utils.detection.boxes import wh_iou
from utils.network.for_data.retarget import distribute


def cloud(centres_px: list[tuple[float, float]], each: int = 60, seed: int = 0) -> np.ndarray:
    """Box sizes (n, 2) scattered by some 5% around each centre."""
    rng = np.random.default_rng(seed)
    sizes = [np.array(centre) * rng.normal(1, 0.05, (each, 2)) for centre in centres_px]
    return np.concatenate(sizes)


def sample(labels: list[list[float]], image_hw: tuple[int, int]) -> Sample:
    return Sample(Path("a.jpg"), np.array(labels, np.float32).reshape(-1, 5), image_hw, "list:1")


def test_finds_well_parted_clusters() -> None:
    centres = [(10.0, 12.0), (30.0, 80.0), (90.0, 40.0), (200.0, 210.0)]
    found = cluster_anchors(cloud(centres), 4)
    by_area = sorted(centres, key=lambda wh: wh[0] * wh[1])
    np.testing.assert_allclose(found, by_area, rtol=0.05)


def test_is_sorted_by_area_and_repeatable() -> None:
    sizes = np.random.default_rng(1).lognormal(3, 0.7, (500, 2))
    first, again = (cluster_anchors(sizes, 6, seed=3) for _ in range(2))
    assert (np.diff(first.prod(1)) >= 0).all()
    assert np.array_equal(first, again)
    other = cluster_anchors(sizes, 6, seed=4, restarts=1)
    assert not np.array_equal(first, other)


def test_is_better_than_quantiles_of_the_area() -> None:
    sizes = cloud([(10, 40), (40, 10), (20, 20), (60, 15), (15, 60), (100, 100)])
    order = np.argsort(sizes.prod(1))
    naive = np.stack([np.median(part, axis=0) for part in np.array_split(sizes[order], 6)])
    found = cluster_anchors(sizes, 6)
    assert measure_fit(found, sizes).mean_iou > measure_fit(naive, sizes).mean_iou + 0.1


def test_an_anchor_is_the_median_of_its_boxes() -> None:
    """Sizes of boxes have a long tail, which pulls the mean; the median fits better under IoU."""
    sizes = np.random.default_rng(0).lognormal(3, 0.7, (201, 2))
    median, mean = np.median(sizes, axis=0), sizes.mean(0)
    (found,) = cluster_anchors(sizes, 1, restarts=1)
    assert found.tolist() == median.tolist()
    worth = [measure_fit(middle[None], sizes).mean_iou for middle in (median, mean)]
    assert worth[0] > worth[1] + 0.01


def test_iou_is_that_of_centred_boxes() -> None:
    rng = np.random.default_rng(0)
    anchors, sizes = rng.uniform(1, 99, (5, 2)), rng.uniform(1, 99, (40, 2))
    expected, nearest = wh_iou(torch.tensor(anchors), torch.tensor(sizes)).max(0)
    iou, best = best_iou(anchors, sizes)
    np.testing.assert_allclose(iou, expected.numpy(), rtol=1e-12)
    assert best.tolist() == nearest.tolist()


def test_fit_of_exact_and_of_bad_anchors() -> None:
    sizes = np.array([[10.0, 10.0], [20.0, 10.0]])
    exact = measure_fit(sizes, sizes)
    assert (exact.mean_iou, exact.covered) == (1.0, 1.0)
    half = measure_fit(sizes[:1], sizes)  # the second box: IoU 0.5, which is not above 0.5
    assert (half.mean_iou, half.covered) == (0.75, 0.5)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(
        st.tuples(st.floats(0.5, 600), st.floats(0.5, 600)), min_size=3, max_size=30, unique=True
    ),
    seed=st.integers(0, 5),
)
def test_any_boxes_give_usable_anchors(sizes: list[tuple[float, float]], seed: int) -> None:
    boxes = np.array(sizes)
    anchors = cluster_anchors(boxes, 3, seed, restarts=2)
    assert anchors.shape == (3, 2)
    assert (anchors >= boxes.min(0)).all()
    assert (anchors <= boxes.max(0)).all()
    one = cluster_anchors(boxes, 1, seed, restarts=2)
    assert measure_fit(anchors, boxes).mean_iou >= measure_fit(one, boxes).mean_iou - 0.05


def test_too_few_sizes_are_refused() -> None:
    sizes = np.array([[10.0, 10.0], [20.0, 20.0]] * 30)
    assert len(cluster_anchors(sizes, 2)) == 2
    with pytest.raises(UserError, match="2 different box sizes"):
        cluster_anchors(sizes, 3)


@pytest.mark.parametrize(
    ("fit", "expected"), [("letterbox", [[32.0, 12.0]]), ("stretch", [[32.0, 24.0]])]
)
def test_sizes_are_those_in_the_network(fit: str, expected: list[list[float]]) -> None:
    """A 200x100 image in a 64x64 network is 64x32 pixels letterboxed, 64x64 stretched."""
    boxes = sample([[0, 0.5, 0.5, 0.5, 0.375]], (100, 200))
    assert box_sizes_px([boxes], (64, 64), fit).tolist() == expected  # type: ignore[arg-type]


def test_no_boxes_are_refused() -> None:
    with pytest.raises(UserError, match="no boxes"):
        box_sizes_px([sample([], (10, 10))], (64, 64), "letterbox")


def test_small_strides_get_small_anchors() -> None:
    assert distribute([32, 16, 8], [3, 3, 3]) == [(6, 7, 8), (3, 4, 5), (0, 1, 2)]
    assert distribute([8, 16, 32], [1, 2, 3]) == [(0,), (1, 2), (3, 4, 5)]
