"""utils/metrics.py against pycocotools on the same boxes, and against hand-made cases."""

from __future__ import annotations

import contextlib
import io
import time
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from utils.detection.metrics import (
    Boxes,
    Counting,
    Floats,
    match_detections,
    mean_of_valid,
    score_detections,
)

NC = 5


def coco_ap(detections: Boxes, targets: Boxes, images: int, max_det: int = 100) -> Floats:
    """(NC, 10) AP by pycocotools, nan for classes without targets."""
    ltwh = [
        np.hstack((b.xyxy[:, :2], b.xyxy[:, 2:] - b.xyxy[:, :2])) for b in (detections, targets)
    ]
    truth = COCO()
    truth.dataset = {
        "images": [{"id": i} for i in range(images)],
        "categories": [{"id": c} for c in range(NC)],
        "annotations": [
            # Ids start at 1: COCOeval takes a match with annotation 0 for no match.
            {"id": n + 1, "image_id": int(i), "category_id": int(c), "bbox": list(map(float, box)),
             "area": float(box[2] * box[3]), "iscrowd": 0}
            for n, (i, c, box) in enumerate(zip(targets.image, targets.label, ltwh[1], strict=True))
        ],
    }  # fmt: skip
    found = [
        {
            "image_id": int(i),
            "category_id": int(c),
            "bbox": list(map(float, box)),
            "score": float(s),
        }
        for i, c, box, s in zip(
            detections.image, detections.label, ltwh[0], detections.score, strict=True
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        loaded = truth.loadRes(found) if found else COCO()
        if not found:
            loaded.dataset = {**truth.dataset, "annotations": []}
            loaded.createIndex()
        run = COCOeval(truth, loaded, "bbox")
        run.params.maxDets = [max_det]
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][:, :, :, 0, 0]  # (10, 101, NC)
    return np.where(precision > -1, precision, np.nan).mean(axis=1).T


def random_case(seed: int, images: int = 8, ties: bool = True) -> tuple[Boxes, Boxes]:
    """Detections that are jittered targets, twice, and noise; image 3 is empty, image 4 has no
    detections, class 3 no targets, class 4 no detections."""
    rng = np.random.default_rng(seed)
    count = 60
    image = rng.integers(0, images, count)
    label = rng.choice([0, 1, 2, 4], count)
    low = rng.integers(0, 60, (count, 2)).astype(float)
    xyxy = np.hstack((low, low + rng.integers(8, 60, (count, 2))))
    keep = image != 3
    targets = Boxes(image[keep], label[keep], xyxy[keep], np.ones(keep.sum()))
    noise = rng.integers(0, 60, (40, 2)).astype(float)
    found = np.vstack((
        xyxy + rng.normal(0, 2, xyxy.shape),
        xyxy + rng.integers(-4, 5, xyxy.shape),
        np.hstack((noise, noise + rng.integers(8, 60, noise.shape))),
    ))  # fmt: skip
    found_image = np.concatenate((image, image, rng.integers(0, images, len(noise))))
    found_label = np.concatenate((label, label, rng.integers(0, 4, len(noise))))
    score = rng.uniform(0.05, 1, len(found))
    score = np.round(score, 1) if ties else score
    kept = (found_image != 3) & (found_image != 4) & (found_label != 4)
    shuffle = rng.permutation(np.flatnonzero(kept))
    return Boxes(
        found_image[shuffle], found_label[shuffle], found[shuffle], score[shuffle]
    ), targets


@pytest.mark.parametrize("seed", range(12))
def test_ap_equals_pycocotools(seed: int) -> None:
    detections, targets = random_case(seed, ties=seed % 2 == 0)
    ours = score_detections(detections, targets, NC)
    theirs = coco_ap(detections, targets, images=8)
    np.testing.assert_allclose(ours.ap, theirs, atol=1e-9, rtol=0)
    assert np.isnan(ours.ap[3]).all()  # noise was found, but nothing of the class is there
    assert (ours.ap[4] == 0).all()  # targets, but nothing found
    assert 0.05 < mean_of_valid(ours.ap) < 0.95
    assert mean_of_valid(ours.ap) == pytest.approx(float(np.nanmean(theirs)), abs=1e-12)


def test_a_shifted_box_is_noticed() -> None:
    _, targets = random_case(1)
    perfect = replace(targets, score=np.linspace(1, 0.1, len(targets.score)))
    before = score_detections(perfect, targets, NC).ap
    np.testing.assert_allclose(before[[0, 1, 2, 4]], 1, atol=1e-12)
    moved = perfect.xyxy.copy()
    moved[0, [0, 2]] += 3
    shifted = replace(perfect, xyxy=moved)
    after = score_detections(shifted, targets, NC).ap
    assert after[targets.label[0], 9] < 1 - 1e-3
    np.testing.assert_allclose(after, coco_ap(shifted, targets, images=8), atol=1e-9, rtol=0)


@pytest.mark.parametrize("max_det", [1, 3, 100])
def test_limit_per_image_and_class(max_det: int) -> None:
    detections, targets = random_case(5, images=4)
    ours = score_detections(detections, targets, NC, Counting(max_det))
    theirs = coco_ap(detections, targets, images=4, max_det=max_det)
    np.testing.assert_allclose(ours.ap, theirs, atol=1e-9, rtol=0)
    if max_det < 100:
        assert mean_of_valid(ours.ap) < mean_of_valid(score_detections(detections, targets, NC).ap)


def test_iou_on_the_threshold_counts_as_in_pycocotools() -> None:
    # Integer boxes whose IoU is exactly .5, .6, .75, ...; two targets with the same IoU compete.
    targets = boxes([(0, 0, 0, 0, 10, 10), (0, 0, 4, 0, 14, 10), (0, 1, 0, 0, 20, 20)])
    detections = boxes(
        [(0, 0, 2, 0, 12, 10), (0, 0, 0, 0, 10, 5), (0, 0, 0, 0, 10, 6), (0, 1, 0, 0, 20, 15)],
        [0.9, 0.9, 0.8, 0.7],
    )
    ours = score_detections(detections, targets, NC).ap
    np.testing.assert_allclose(ours, coco_ap(detections, targets, images=1), atol=1e-12, rtol=0)
    np.testing.assert_allclose(ours[1, 4:7], (1, 1, 0))  # the IoU is .75: at .70, .75, .80


def boxes(rows: list[tuple[float, ...]], scores: list[float] | None = None) -> Boxes:
    """Boxes of rows (image, class, x1, y1, x2, y2)."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    score = np.ones(len(table)) if scores is None else np.array(scores)
    return Boxes(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:], score)


def test_best_f1_by_hand() -> None:
    targets = boxes([(0, 0, 0, 0, 10, 10), (1, 0, 0, 0, 10, 10)])
    far = (50.0, 50.0, 60.0, 60.0)
    detections = boxes(
        [(0, 0, 0, 0, 10, 10), (1, 0, *far), (1, 0, 0, 0, 10, 10), (0, 0, *far), (0, 0, *far)],
        [0.9, 0.8, 0.7, 0.6, 0.5],
    )
    result = score_detections(detections, targets, 1)
    assert (result.precision[0], result.recall[0]) == pytest.approx((2 / 3, 1))
    assert (result.f1[0], result.confidence[0]) == pytest.approx((0.8, 0.7))
    assert (result.images[0], result.targets[0]) == (2, 2)


def test_best_f1_does_not_part_equal_scores() -> None:
    targets = boxes([(0, 0, 0, 0, 10, 10)])
    detections = boxes([(0, 0, 0, 0, 10, 10), (0, 0, 50, 50, 60, 60)], [0.5, 0.5])
    result = score_detections(detections, targets, 1)
    assert (result.precision[0], result.recall[0]) == (0.5, 1)
    parted = score_detections(replace(detections, score=np.array([0.6, 0.5])), targets, 1)
    assert parted.precision[0] == 1


@pytest.mark.parametrize("some", ["nothing", "detections", "targets"])
def test_empty_sets(some: str) -> None:
    one, none = boxes([(0, 1, 0, 0, 5, 5)]), boxes([])
    result = score_detections(
        one if some == "detections" else none, one if some == "targets" else none, NC
    )
    expected = 0.0 if some == "targets" else np.nan
    np.testing.assert_equal(result.ap[1], np.full(10, expected))
    np.testing.assert_equal(mean_of_valid(result.ap), expected)
    assert np.isnan(result.ap[0]).all()


def test_boxes_without_area_match_nothing() -> None:
    point = boxes([(0, 0, 5, 5, 5, 5)])
    assert (score_detections(point, point, 1).ap == 0).all()


def test_many_detections_are_quick() -> None:
    rng = np.random.default_rng(0)
    images, per_image = 72, 300
    low = rng.uniform(0, 500, (images * per_image, 2))
    xyxy = np.hstack((low, low + rng.uniform(20, 120, low.shape)))
    image = np.repeat(np.arange(images), per_image)
    label = rng.integers(0, 3, len(image))
    detections = Boxes(image, label, xyxy, rng.uniform(0, 1, len(image)))
    few = np.arange(0, len(image), 20)
    targets = Boxes(image[few], label[few], xyxy[few] + 3, np.ones(len(few)))
    start = time.perf_counter()
    result = score_detections(detections, targets, 3)
    assert time.perf_counter() - start < 1.0  # measured: 0.1 s
    assert mean_of_valid(result.ap) > 0


@pytest.mark.parametrize("seed", range(4))
def test_one_confidence_for_all_classes_is_where_their_mean_f1_is_highest(seed: int) -> None:
    detections, targets = random_case(seed, ties=seed % 2 == 0)
    found = score_detections(detections, targets, NC)
    present = np.unique(targets.label)

    def mean_f1(threshold: float) -> float:
        kept = detections.score >= threshold
        parts = [getattr(detections, name)[kept] for name in ("image", "label", "xyxy", "score")]
        cut = match_detections(Boxes(*parts), targets, NC)
        hits = np.bincount(cut.label, cut.hits[:, 0], NC)[present]
        shown = np.bincount(cut.label, minlength=NC)[present]
        return float((2 * hits / (shown + cut.targets[present])).mean())

    tried = {float(score): mean_f1(score) for score in np.unique(detections.score)}
    best = max(tried.values())
    assert found.best_conf == max(s for s, f1 in tried.items() if f1 > best - 1e-12)
    assert best > min(tried.values()) + 0.1  # negative control: not any threshold will do


def test_no_threshold_is_best_where_nothing_is_found() -> None:
    target = Boxes(np.zeros(1, int), np.zeros(1, int), np.array([[0.0, 0, 9, 9]]), np.ones(1))
    elsewhere = replace(target, xyxy=target.xyxy + 50)
    assert np.isnan(score_detections(elsewhere, target, 2).best_conf)
    assert np.isnan(score_detections(Boxes.of([], []), target, 2).best_conf)
    assert score_detections(replace(target, score=np.array([0.3])), target, 2).best_conf == 0.3


def test_trapezoids_between_detections() -> None:
    """Two hits around a miss, of two targets: by hand, from the lines between the points."""
    box = np.array([[0.0, 0, 9, 9], [20, 0, 29, 9], [50, 50, 59, 59]])
    targets = Boxes(np.zeros(2, int), np.zeros(2, int), box[:2], np.ones(2))
    order = [0, 2, 1]
    found = Boxes(np.zeros(3, int), np.zeros(3, int), box[order], np.array([0.9, 0.8, 0.7]))
    by_lines = score_detections(found, targets, 1, Counting(trapezoids=True)).ap[0]
    # Precision 1 up to recall .5, where it falls to 2/3 at once, flat up to 1, where it ends: there
    # the last of 100 trapezoids goes down to 0.
    step = 0.01 / 2 * (1 - 2 / 3)
    np.testing.assert_allclose(by_lines, 0.5 + 0.5 * 2 / 3 - 0.01 / 2 * 2 / 3 - step, atol=2e-3)
    by_coco = score_detections(found, targets, 1).ap[0]
    np.testing.assert_allclose(by_coco, (51 + 50 * 2 / 3) / 101, atol=1e-9)
    assert (by_lines < by_coco).all()
    nothing = replace(found, score=found.score[:0], xyxy=box[:0], image=found.image[:0],
                      label=found.label[:0])  # fmt: skip
    assert (score_detections(nothing, targets, 1, Counting(trapezoids=True)).ap == 0).all()


def test_only_the_best_of_an_image_and_class_count() -> None:
    detections, targets = random_case(5, images=4)
    some, more = (score_detections(detections, targets, NC, Counting(n)).ap for n in (3, 300))
    assert mean_of_valid(some) < mean_of_valid(more)
