"""Anchors that fit a data set: k-means on the sizes of its boxes, with 1 - IoU as distance.

As in YOLOv2 (Redmon and Farhadi, arXiv:1612.08242, section 2): with Euclidean distance large boxes
would pull more than small ones. IoU here is that of boxes with the same centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..command.errors import UserError
from ..command.progress import progress_bar
from .options import Fit, fitted_size
from .samples import Sample

FloatArray = npt.NDArray[np.float64]

RESTARTS = 10
MAX_ITERATIONS = 200
MAX_BOXES = 50_000  # more change no anchor by a pixel, and only take time
COVERED_IOU = 0.5


@dataclass(frozen=True)
class AnchorFit:
    """How well anchors suit boxes, each box with its best anchor."""

    mean_iou: float
    covered: float  # share of the boxes with an IoU above COVERED_IOU


def box_sizes_px(samples: Sequence[Sample], net_hw: tuple[int, int], fit: Fit) -> FloatArray:
    """Width and height (n, 2), in network pixels, of every box of `samples`.

    Raises UserError when there is no box.
    """
    sizes = [np.empty((0, 2))]
    for sample in samples:
        height, width = fitted_size(sample.image_hw, net_hw, fit)
        sizes.append(sample.labels[:, 3:5].astype(np.float64) * (width, height))
    found = np.concatenate(sizes)
    found = found[(found > 0).all(1)]
    if not len(found):
        raise UserError("the data set has no boxes to take anchors from; leave out --anchors")
    return found


def best_iou(anchors_px: FloatArray, sizes_px: FloatArray) -> tuple[FloatArray, FloatArray]:
    """IoU of each box (n,) with its best anchor, and which anchor that is (n,), as an index."""
    inner = np.minimum(sizes_px[:, None], anchors_px[None]).prod(-1)  # (n, k)
    iou = inner / (sizes_px.prod(-1)[:, None] + anchors_px.prod(-1)[None] - inner)
    best = iou.argmax(1)
    return iou[np.arange(len(iou)), best], best


def measure_fit(anchors_px: FloatArray, sizes_px: FloatArray) -> AnchorFit:
    """How well the anchors (k, 2) suit boxes of the sizes (n, 2)."""
    iou, _ = best_iou(anchors_px, sizes_px)
    return AnchorFit(float(iou.mean()), float((iou > COVERED_IOU).mean()))


def cluster_anchors(
    sizes_px: FloatArray, count: int, seed: int = 0, restarts: int = RESTARTS
) -> FloatArray:
    """`count` anchors (count, 2), width and height, from the smallest area to the largest.

    The best of `restarts` runs by mean IoU, each seeded as k-means++ (Arthur and Vassilvitskii,
    2007). The same seed gives the same anchors. Raises UserError when there are fewer shapes of
    boxes than anchors.
    """
    shapes = len(np.unique(sizes_px, axis=0))
    if shapes < count:
        raise UserError(
            f"the data set has {shapes} different box sizes, too few for {count} anchors; "
            "leave out --anchors to keep the cfg's"
        )
    rng = np.random.default_rng(seed)
    if len(sizes_px) > MAX_BOXES:
        sizes_px = rng.choice(sizes_px, MAX_BOXES, replace=False)
    best, best_mean = sizes_px[:count], -1.0
    for _ in progress_bar(range(restarts), "k-means"):
        anchors = _lloyd(sizes_px, _spread_out(sizes_px, count, rng))
        mean = measure_fit(anchors, sizes_px).mean_iou
        if mean > best_mean:
            best, best_mean = anchors, mean
    order = np.lexsort((best[:, 0], best.prod(1)))
    return np.asarray(best[order], np.float64)


def _spread_out(sizes_px: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """k-means++: each next start is a box drawn by its squared distance to those so far."""
    starts: FloatArray = sizes_px[rng.integers(len(sizes_px))][None]
    while len(starts) < count:
        distance = 1 - best_iou(starts, sizes_px)[0]
        weight = np.clip(distance, 0, None) ** 2
        chosen = rng.choice(len(sizes_px), p=weight / weight.sum())
        starts = np.vstack((starts, sizes_px[chosen]))
    return starts


def _lloyd(sizes_px: FloatArray, anchors_px: FloatArray) -> FloatArray:
    """Move each anchor to the middle of its boxes until nothing changes; the best set on the way.

    The middle is the median: it fits better than the mean under IoU, but neither is the optimum,
    so that a step may make things worse.
    """
    best, best_mean = anchors_px, -1.0
    for _ in range(MAX_ITERATIONS):
        iou, nearest = best_iou(anchors_px, sizes_px)
        if iou.mean() > best_mean:
            best, best_mean = anchors_px, float(iou.mean())
        moved = anchors_px.copy()
        for k in range(len(anchors_px)):
            members = sizes_px[nearest == k]
            # An anchor that no box chose starts again at the box that is served worst.
            moved[k] = np.median(members, axis=0) if len(members) else sizes_px[iou.argmin()]
        if np.array_equal(moved, anchors_px):
            break
        anchors_px = moved
    return best
