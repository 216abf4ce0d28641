"""Average precision as COCO defines it, without loops over images.

The numbers are those of pycocotools' COCOeval (bbox, area "all") on the same boxes: greedy matching
in the order of the scores, ties by input order, 101-point interpolation, mean over IoU .5:.05:.95;
a class without targets takes no part in means. A test holds the two together to 1e-6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..data.detections import Detections, Floats, Ints

Bools = NDArray[np.bool_]

IOU_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
RECALL_POINTS: Floats = np.linspace(0.0, 1.0, 101)

# COCO's own limit, per image *and class* (NMS already limits the detections of a whole image).
MAX_DET_PER_CLASS = 100


@dataclass(frozen=True)
class Counting:
    """How AP is counted; programs differ (see score.py).

    max_det: detections per image and class that count, the best ones. clipped: boxes end at the
    image's border. trapezoids: the area under the curve with straight lines between detections;
    else COCO's mean of the highest precision from each recall on.
    """

    max_det: int = MAX_DET_PER_CLASS
    clipped: bool = True
    trapezoids: bool = False


COCO_COUNTING = Counting()


@dataclass(frozen=True)
class Boxes:
    """n labelled boxes of a whole set of images, side by side, so that no loop need go over these.

    Detections have scores, targets have ones.
    """

    image: Ints  # (n,) which image; any numbers, their order is the order of the images
    label: Ints  # (n,) class
    xyxy: Floats  # (n, 4) in pixels of the original image
    score: Floats  # (n,)

    @staticmethod
    def of(images: Sequence[int], boxes: Sequence[Detections]) -> Boxes:
        """Those of each of the images, which are told apart by numbers, in this order."""
        return Boxes(
            np.repeat(np.array(images, np.int64), [len(own) for own in boxes]),
            np.concatenate([np.zeros(0, np.int64), *(own.classes for own in boxes)]),
            np.concatenate([np.zeros((0, 4)), *(own.boxes_xyxy_px for own in boxes)]),
            np.concatenate([np.zeros(0), *(own.scores for own in boxes)]),
        )


@dataclass(frozen=True)
class Matched:
    """n detections, each with whether it found a target; by class, then by falling score."""

    label: Ints  # (n,) class
    score: Floats  # (n,)
    image: Ints  # (n,) as in `Boxes`
    hits: Bools  # (n, 10) per IoU threshold
    targets: Ints  # (nc,) targets of each class

    @property
    def spans(self) -> Ints:
        """(nc + 1,): the detections of class c are those from spans[c] to spans[c + 1]."""
        return np.searchsorted(self.label, np.arange(len(self.targets) + 1))


@dataclass(frozen=True)
class ClassScores:
    """Results per class, arrays of length nc; nan where the class has no targets."""

    images: Ints  # images that hold the class
    targets: Ints
    ap: Floats  # (nc, 10) per IoU threshold
    precision: Floats  # at IoU .5 and the confidence where F1 is best
    recall: Floats
    f1: Floats
    confidence: Floats  # that confidence; nan, too, where nothing was detected
    best_conf: float  # the one confidence for all classes: see `best_confidence`


def score_detections(
    detections: Boxes, targets: Boxes, nc: int, counting: Counting = COCO_COUNTING
) -> ClassScores:
    """AP at ten IoU thresholds, and the best F1, of each of `nc` classes."""
    found = match_detections(detections, targets, nc, counting.max_det)
    pairs = np.unique(np.stack((targets.label, targets.image)), axis=1)
    rows = [
        _score_class(found.hits[low:high], found.score[low:high], int(count), counting)
        for (low, high), count in zip(pairwise(found.spans), found.targets, strict=True)
    ]
    table = np.array(rows).reshape(nc, -1)
    return ClassScores(
        images=np.bincount(pairs[0], minlength=nc)[:nc],
        targets=found.targets,
        ap=table[:, 4:],
        precision=table[:, 0],
        recall=table[:, 1],
        f1=table[:, 2],
        confidence=table[:, 3],
        best_conf=best_confidence(found),
    )


def match_detections(
    detections: Boxes, targets: Boxes, nc: int, max_det: int = MAX_DET_PER_CLASS
) -> Matched:
    """Which of the best `max_det` detections per image and class find a target."""
    targets = _take(targets, np.lexsort((targets.image, targets.label)))
    detections = _best_per_image(detections, max_det)
    hits = _match(detections, targets)
    # Stable: among equal scores the order of images, then of the input, decides.
    order = np.lexsort((-detections.score, detections.label))
    counts = np.bincount(targets.label, minlength=nc)[:nc]
    taken = _take(detections, order)
    return Matched(taken.label, taken.score, taken.image, hits[order], counts)


def best_confidence(found: Matched) -> float:
    """The score at which F1 (IoU .5), averaged over the classes with targets, is highest.

    It is the highest such score; nan where no threshold finds a target.
    """
    gains = np.zeros(len(found.score))
    for (low, high), count in zip(pairwise(found.spans), found.targets, strict=True):
        if count:
            hits = np.cumsum(found.hits[low:high, 0], dtype=np.float64)
            f1 = 2 * hits / (np.arange(1, high - low + 1) + count)
            gains[low:high] = np.diff(f1, prepend=0.0)
    order = np.argsort(-found.score, kind="stable")
    score, f1_of_all = found.score[order], np.cumsum(gains[order])
    f1_of_all[:-1][score[:-1] == score[1:]] = -1.0  # no threshold parts equal scores
    best = f1_of_all.argmax() if len(score) else -1
    # Sums of gains that cancel may leave a trace.
    return float(score[best]) if best >= 0 and f1_of_all[best] > 1e-9 else float("nan")


def mean_of_valid(values: Floats) -> float:
    """Mean of what is not nan; nan when nothing is left."""
    valid = values[~np.isnan(values)]
    return float(valid.mean()) if valid.size else float("nan")


def _take(boxes: Boxes, index: Ints | Bools) -> Boxes:
    return Boxes(boxes.image[index], boxes.label[index], boxes.xyxy[index], boxes.score[index])


def _best_per_image(detections: Boxes, max_det: int) -> Boxes:
    """Detections ordered by class, image, falling score; `max_det` of each class and image."""
    ordered = _take(detections, np.lexsort((-detections.score, detections.image, detections.label)))
    return _take(ordered, _rank(_group_starts(ordered)) < max_det)


def _group_starts(boxes: Boxes) -> Bools:
    """True at the first box of each (class, image) of boxes ordered by these."""
    starts = np.ones(len(boxes.label), dtype=np.bool_)
    starts[1:] = (np.diff(boxes.label) != 0) | (np.diff(boxes.image) != 0)
    return starts


def _rank(starts: Bools) -> Ints:
    """Position of each element in its run: 0, 1, 2, 0, 1, ... where `starts` marks the zeros."""
    position = np.arange(len(starts))
    return position - np.maximum.accumulate(np.where(starts, position, 0))


def _match(detections: Boxes, targets: Boxes) -> Bools:
    """Whether each detection finds a target at each IoU threshold: (n, 10).

    Both are ordered by class and image. Inside one class and image the detections choose one after
    the other, each the target still free with the highest IoU (the last of equals). What happens in
    one (class, image) touches no other, so all first detections choose at once, then all second
    ones, and so on; those that overlap no target by half need not wait for a turn.
    """
    detection, target, overlap = _overlapping_pairs(detections, targets)
    starts = np.diff(detection, prepend=-1) != 0
    choosers = detection[starts]
    turn_of_chooser = _rank(_group_starts(_take(detections, choosers)))
    turn = turn_of_chooser[np.cumsum(starts) - 1]
    order = np.lexsort((target, overlap, detection, turn))
    detection, target, overlap, turn = detection[order], target[order], overlap[order], turn[order]
    hits = np.zeros((len(detections.score), len(IOU_THRESHOLDS)), dtype=np.bool_)
    taken = np.zeros((len(targets.score), len(IOU_THRESHOLDS)), dtype=np.bool_)
    bounds = np.searchsorted(turn, np.arange(turn.max(initial=-1) + 2))
    for low, high in pairwise(bounds):
        now, wanted = detection[low:high], target[low:high]
        free = (overlap[low:high, None] >= IOU_THRESHOLDS) & ~taken[wanted]
        # The candidates of a detection follow each other by rising IoU: the last free one wins.
        position = np.where(free, np.arange(high - low)[:, None], -1)
        first = np.flatnonzero(np.diff(now, prepend=-1))
        winner = np.maximum.reduceat(position, first, axis=0)  # (choosers now, 10)
        chooser, threshold = np.nonzero(winner >= 0)
        hits[now[first[chooser]], threshold] = True
        taken[wanted[winner[chooser, threshold]], threshold] = True
    return hits


def _overlapping_pairs(detections: Boxes, targets: Boxes) -> tuple[Ints, Ints, Floats]:
    """Detection, target and IoU of every pair of one class and image with IoU >= .5.

    Pairs are ordered by detection; both inputs by class and image.
    """
    images, image = np.unique(
        np.concatenate((detections.image, targets.image)), return_inverse=True
    )
    split = len(detections.image)
    detection_key = detections.label * len(images) + image[:split]
    target_key = targets.label * len(images) + image[split:]
    low = np.searchsorted(target_key, detection_key, side="left")
    count = np.searchsorted(target_key, detection_key, side="right") - low
    detection = np.repeat(np.arange(split), count)
    inside = np.arange(len(detection)) - np.repeat(np.cumsum(count) - count, count)
    target = low[detection] + inside
    overlap = iou_of_pairs(detections.xyxy[detection], targets.xyxy[target])
    close = overlap >= IOU_THRESHOLDS[0]
    return detection[close], target[close], overlap[close]


def iou_of_pairs(a_xyxy: Floats, b_xyxy: Floats) -> Floats:
    """Elementwise IoU (n,), in the operations and order of COCO's C code, to the last bit."""
    size_a, size_b = a_xyxy[:, 2:] - a_xyxy[:, :2], b_xyxy[:, 2:] - b_xyxy[:, :2]
    high = np.minimum(a_xyxy[:, :2] + size_a, b_xyxy[:, :2] + size_b)
    side = (high - np.maximum(a_xyxy[:, :2], b_xyxy[:, :2])).clip(min=0)
    shared = side[:, 0] * side[:, 1]
    union = size_a[:, 0] * size_a[:, 1] + size_b[:, 0] * size_b[:, 1] - shared
    # Two boxes without an area share nothing: 0 rather than 0 / 0.
    overlap: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
    return overlap


def _score_class(hits: Bools, score: Floats, targets: int, counting: Counting) -> list[float]:
    """Precision, recall, F1 and confidence at the best F1, then AP (10); `score` falls."""
    if targets == 0:
        return [float("nan")] * (4 + len(IOU_THRESHOLDS))
    true_positives = np.cumsum(hits, axis=0, dtype=np.float64)  # (n, 10)
    detected = np.arange(1, len(score) + 1, dtype=np.float64)
    recall = true_positives / targets
    precision = true_positives / (detected[:, None] + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    best = _best_f1(true_positives[:, 0], detected, score, targets)
    area = _by_trapezoids if counting.trapezoids else _interpolate
    return [*best, *(area(r, p) for r, p in zip(recall.T, envelope.T, strict=True))]


def _interpolate(recall: Floats, envelope: Floats) -> float:
    """Mean precision at the 101 recall points; 0 at those that are never reached."""
    index = np.searchsorted(recall, RECALL_POINTS, side="left")
    reached = index[index < len(recall)]
    return float(envelope[reached].sum() / len(RECALL_POINTS))


def _by_trapezoids(recall: Floats, envelope: Floats) -> float:
    """The area under straight lines between detections, by 100 trapezoids; from precision 1 on."""
    if not len(recall):
        return 0.0
    x = np.concatenate(([0.0], recall, [recall[-1], 1.0]))
    y = np.concatenate(([1.0], envelope, [0.0, 0.0]))
    return float(np.trapezoid(np.interp(RECALL_POINTS, x, y), RECALL_POINTS))


def _best_f1(
    true_positives: Floats, detected: Floats, score: Floats, targets: int
) -> tuple[float, float, float, float]:
    """Precision, recall, F1, confidence where F1 is highest (the highest such confidence)."""
    if len(score) == 0:
        return 0.0, 0.0, 0.0, float("nan")
    f1 = 2 * true_positives / (detected + targets)
    # No threshold can part equal scores: only the last of each run is a working point.
    f1[:-1][score[:-1] == score[1:]] = -1.0
    best = int(f1.argmax())
    hits = true_positives[best]
    return hits / detected[best], hits / targets, float(f1[best]), float(score[best])
