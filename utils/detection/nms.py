"""Class-wise non-maximum suppression of a batch of predictions.

Plain suppression runs in OpenCV's native code; Darknet's other kinds, which OpenCV lacks, in numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.detections import Detections
from .boxes import xywh_to_xyxy
from .options import PLAIN, NmsKind

MAX_CANDIDATES = 30_000

# A thinner box matches nothing, and OpenCV takes all boxes without an area for one box.
_MIN_SIDE_PX = 1e-2
# exp() of an untrained width may be astronomical; farther out than this nothing is told apart.
_MAX_COORDINATE_PX = 1e6

_BLOCK = 128  # candidates that are compared with the kept ones at once

BoxArray = NDArray[np.float64]


@torch.no_grad()
def nms(
    predictions: Tensor,
    conf_thres: float,
    iou_thres: float,
    max_det: int = 300,
    multi_label: bool = True,
    max_candidates: int = MAX_CANDIDATES,
    kind: NmsKind = PLAIN,
    aspects: Sequence[float] | None = None,
) -> list[Detections]:
    """Detections of each image in input pixels, best score first.

    `predictions` (B, N, 5 + nc): xywh in input pixels, objectness, class probabilities; a score is
    objectness * class probability. Whatever their type, boxes and scores are computed in float32.

    Only scores above `conf_thres` count (strictly, as in Darknet). With `multi_label` a box stands
    for every class above it, as mAP wants, else for its best class. A box goes when its overlap
    with a better one of its class, in the sense of `kind`, exceeds `iou_thres`. Per image, at most
    `max_candidates` enter and `max_det` leave. Boxes that are not finite, or have hardly any width
    or height, are dropped.

    `aspects` has width / height of each image as it lies in the network input. Darknet measures
    distances in shares of the image, that is, as if it were square; it matters to the kinds that
    look at distances. Left out, a pixel is as high as wide.
    """
    found = []
    for rows, aspect in zip(predictions, aspects or [1.0] * len(predictions), strict=True):
        candidates = _candidates(rows, conf_thres, multi_label, max_candidates)
        boxes, scores, classes = (column.numpy() for column in candidates)
        exact = boxes.astype(np.float64)
        measured = exact * (1, aspect, 1, aspect)
        kept = suppress(measured, scores, classes, iou_thres, max_det, kind)
        found.append(
            Detections(exact[kept], scores[kept].astype(np.float64), classes[kept].astype(np.int64))
        )
    return found


def _candidates(
    rows: Tensor, conf_thres: float, multi_label: bool, limit: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Best `limit` candidates of rows (N, 5 + nc): xyxy (n, 4), falling scores (n,), classes (n,).

    Results lie on the CPU; all else runs where the predictions are.
    """
    if bool((rows[:, 5:] <= 1).all()):  # raw class scores of a [region] may exceed it
        rows = rows[rows[:, 4] > conf_thres]
    rows = rows.float()
    boxes = xywh_to_xyxy(rows[:, :4])
    sane = boxes.isfinite().all(1) & (rows[:, 2:4] > _MIN_SIDE_PX).all(1)
    rows, boxes = rows[sane], boxes[sane]
    scores = rows[:, 4:5] * rows[:, 5:]  # (n, nc)
    if multi_label:
        box, classes = (scores > conf_thres).nonzero(as_tuple=True)
        scores = scores[box, classes]
    else:
        scores, classes = scores.max(dim=1)
        box = (scores > conf_thres).nonzero()[:, 0]
        scores, classes = scores[box], classes[box]
    if len(scores) > limit:
        # topk orders ties as it likes: back to the order of the rows before the stable sort.
        best = scores.topk(limit, sorted=False).indices.sort().values
        box, scores, classes = box[best], scores[best], classes[best]
    scores, order = scores.sort(descending=True, stable=True)
    return boxes[box[order]].cpu(), scores.cpu(), classes[order].int().cpu()


def suppress(
    boxes_xyxy: BoxArray,  # (n, 4)
    scores: NDArray[np.float32],  # (n,)
    classes: NDArray[np.int32],  # (n,)
    iou_thres: float,
    max_det: int,
    kind: NmsKind = PLAIN,
) -> NDArray[np.int64]:
    """Positions (k,) of the boxes that stay, k <= max_det; the input is sorted, best score first.

    Unit of the boxes: any. Distances are measured in it, see `nms`.
    """
    if len(scores) == 0 or max_det < 1:
        return np.zeros(0, dtype=np.int64)
    if kind.name == "none":
        return np.arange(min(len(scores), max_det), dtype=np.int64)
    corners = boxes_xyxy.clip(-_MAX_COORDINATE_PX, _MAX_COORDINATE_PX)
    if kind.exponent is None:
        return _suppress_plain(corners, scores, classes, iou_thres, max_det)
    return _suppress_near(corners, classes, iou_thres, max_det, kind.exponent)


def _suppress_plain(
    corners: BoxArray,
    scores: Any,  # the binding takes arrays, its type stub says lists
    classes: Any,
    iou_thres: float,
    max_det: int,
) -> NDArray[np.int64]:
    """By IoU alone.

    NMSBoxesBatched compares each box with all that stay so far and has no limit on those, so tens
    of thousands of boxes take seconds. Greedy suppression of the best n boxes gives the beginning
    of what it gives for all: we let n grow until `max_det` boxes stay, which is exact and quick.
    """
    # OpenCV keeps classes apart by shifting class c by c * (largest coordinate + 1), which works
    # for coordinates >= 0 only. IoU does not care where the origin lies.
    moved = corners - corners.min()
    boxes_ltwh: Any = np.hstack((moved[:, :2], moved[:, 2:] - moved[:, :2]))
    count = len(scores)
    n = min(count, 2 * max_det)
    while True:
        kept = cv2.dnn.NMSBoxesBatched(
            boxes_ltwh[:n], scores[:n], classes[:n], score_threshold=-1.0, nms_threshold=iou_thres
        )
        if len(kept) >= max_det or n == count:
            return np.asarray(kept, dtype=np.int64)[:max_det]
        n = min(count, 2 * n)


def _suppress_near(
    corners: BoxArray, classes: NDArray[np.int32], threshold: float, max_det: int, exponent: float
) -> NDArray[np.int64]:
    """By IoU lowered by the distance of the centres.

    Block by block from the best: first the boxes kept so far clear the block, at once, then its
    own boxes each other, one after the other. It ends as soon as `max_det` boxes stay.
    """
    kept = np.zeros(0, dtype=np.int64)

    def near(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.bool_]:
        return _too_near(corners[a], classes[a], corners[b], classes[b], threshold, exponent)

    for start in range(0, len(classes), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(classes)))
        block = block[~near(kept, block).any(0)]
        clears = near(block, block)
        stays = np.ones(len(block), dtype=np.bool_)
        for place in range(len(block)):
            if stays[place]:
                stays[place + 1 :] &= ~clears[place, place + 1 :]
        kept = np.concatenate((kept, block[stays]))
        if len(kept) >= max_det:
            break
    return kept[:max_det]


def _too_near(
    a: BoxArray,
    class_a: NDArray[np.int32],
    b: BoxArray,
    class_b: NDArray[np.int32],
    threshold: float,
    exponent: float,
) -> NDArray[np.bool_]:
    """(A, B): whether boxes (A, 4) and (B, 4) share a class and exceed the threshold."""
    width = _overlap(a[:, 0], a[:, 2], b[:, 0], b[:, 2])
    shared = width * _overlap(a[:, 1], a[:, 3], b[:, 1], b[:, 3])  # area of the intersection
    found = (shared > 0) & (class_a[:, None] == class_b)
    # The costly part only where the IoU alone exceeds the threshold, as it must.
    first, second = found.nonzero()
    iou = _iou(a[first], b[second], shared[first, second])
    far = iou > threshold
    first, second, iou = first[far], second[far], iou[far]
    found[:] = False
    found[first, second] = iou - _distance(a[first], b[second]) ** exponent > threshold
    return np.asarray(found, np.bool_)


def _overlap(low_a: BoxArray, high_a: BoxArray, low_b: BoxArray, high_b: BoxArray) -> BoxArray:
    """(A, B) lengths that intervals (A,) and (B,) share."""
    shared = np.minimum(high_a[:, None], high_b) - np.maximum(low_a[:, None], low_b)
    return np.asarray(np.maximum(shared, 0))


def _iou(a: BoxArray, b: BoxArray, shared: BoxArray) -> BoxArray:
    """(P,) IoU of the pairs a, b (P, 4) whose intersections have the areas `shared` > 0."""
    area_a, area_b = (box[:, 2:] - box[:, :2] for box in (a, b))
    return np.asarray(shared / (area_a.prod(1) + area_b.prod(1) - shared))


def _distance(a: BoxArray, b: BoxArray) -> BoxArray:
    """(P,) d2 / c2 of overlapping pairs (P, 4): see NmsKind."""
    shift = (a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2
    hull = np.maximum(a[:, 2:], b[:, 2:]) - np.minimum(a[:, :2], b[:, :2])
    return np.asarray((shift**2).sum(1) / (hull**2).sum(1))
