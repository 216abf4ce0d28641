"""Class-wise non-maximum suppression of a batch of predictions, through OpenCV's native code."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .boxes import xywh_to_xyxy

MAX_CANDIDATES = 30_000

# A thinner box matches nothing, and OpenCV takes all boxes without an area for one box.
_MIN_SIDE_PX = 1e-2
# exp() of an untrained width may be astronomical; farther out than this nothing is told apart.
_MAX_COORDINATE_PX = 1e6


@torch.no_grad()
def nms(
    predictions: Tensor,
    conf_thres: float,
    iou_thres: float,
    max_det: int = 300,
    multi_label: bool = True,
    max_candidates: int = MAX_CANDIDATES,
) -> list[Tensor]:
    """Detections of each image: (n, 6) float32 tensors on the CPU, best score first.

    `predictions` (B, N, 5 + nc): xywh in input pixels, objectness, class probabilities. A row of
    the result is x1, y1, x2, y2 in input pixels, score = objectness * class probability, class.

    Only scores above `conf_thres` count (strictly, as in Darknet). With `multi_label` a box stands
    for every class above it, as mAP wants, else for its best class. A box goes when its IoU with a
    better one of its class exceeds `iou_thres`. Per image, at most `max_candidates` enter and
    `max_det` leave. Boxes that are not finite, or have hardly any width or height, are dropped.
    """
    found = []
    for rows in predictions:
        boxes, scores, classes = _candidates(rows, conf_thres, multi_label, max_candidates)
        kept = torch.from_numpy(
            _suppress(boxes.numpy(), scores.numpy(), classes.numpy(), iou_thres, max_det)
        )
        columns = (boxes[kept], scores[kept, None], classes[kept, None].float())
        found.append(torch.cat(columns, dim=1))
    return found


def _candidates(
    rows: Tensor, conf_thres: float, multi_label: bool, limit: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Best `limit` candidates of rows (N, 5 + nc): xyxy (n, 4), falling scores (n,), classes (n,).

    Results lie on the CPU; all else runs where the predictions are.
    """
    rows = rows[rows[:, 4] > conf_thres].float()  # no class probability exceeds 1
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


def _suppress(
    boxes_xyxy: NDArray[np.float32],
    scores: Any,  # float32 (n,): the binding takes arrays, its type stub says lists
    classes: Any,  # int32 (n,)
    iou_thres: float,
    max_det: int,
) -> NDArray[np.int64]:
    """Positions (k,) of the boxes that stay, k <= max_det; the input is sorted, best score first.

    NMSBoxesBatched compares each box with all that stay so far and has no limit on those, so tens
    of thousands of boxes take seconds. Greedy suppression of the best n boxes gives the beginning
    of what it gives for all: we let n grow until `max_det` boxes stay, which is exact and quick.
    """
    count = len(scores)
    if count == 0 or max_det < 1:
        return np.zeros(0, dtype=np.int64)
    corners = boxes_xyxy.astype(np.float64).clip(-_MAX_COORDINATE_PX, _MAX_COORDINATE_PX)
    # OpenCV keeps classes apart by shifting class c by c * (largest coordinate + 1), which works
    # for coordinates >= 0 only. IoU does not care where the origin lies.
    corners -= corners.min()
    boxes_ltwh: Any = np.hstack((corners[:, :2], corners[:, 2:] - corners[:, :2]))
    n = min(count, 2 * max_det)
    while True:
        kept = cv2.dnn.NMSBoxesBatched(
            boxes_ltwh[:n], scores[:n], classes[:n], score_threshold=-1.0, nms_threshold=iou_thres
        )
        if len(kept) >= max_det or n == count:
            return np.asarray(kept, dtype=np.int64)[:max_det]
        n = min(count, 2 * n)
