"""Which classes are taken for which."""

from __future__ import annotations

import numpy as np

from ...data.detections import Ints
from ..metrics import Boxes, iou_of_pairs

LEAST_IOU = 0.5


def confusion(detections: Boxes, targets: Boxes, nc: int, conf: float) -> Ints:
    """(nc + 1, nc + 1) counts: rows are what was detected, columns what is there; last: nothing.

    Of each image the pairs of a detection from `conf` on and a target, of whatever classes, are
    taken by falling IoU from LEAST_IOU on, each box once.
    """
    counts = np.zeros((nc + 1, nc + 1), np.int64)
    shown = np.flatnonzero(detections.score >= conf)
    shown = shown[np.argsort(detections.image[shown], kind="stable")]
    there = np.argsort(targets.image, kind="stable")
    images = np.unique(np.concatenate((detections.image[shown], targets.image)))
    for image in images:
        found = shown[_of_image(detections.image[shown], image)]
        wanted = there[_of_image(targets.image[there], image)]
        matched = dict(_pairs(detections, targets, found, wanted))
        missed = set(wanted.tolist()) - set(matched.values())
        for one in found.tolist():
            true = targets.label[matched[one]] if one in matched else nc
            counts[detections.label[one], true] += 1
        for one in missed:
            counts[nc, targets.label[one]] += 1
    return counts


def _of_image(ordered: Ints, image: int) -> slice:
    low, high = np.searchsorted(ordered, [image, image + 1])
    return slice(int(low), int(high))


def _pairs(detections: Boxes, targets: Boxes, found: Ints, wanted: Ints) -> list[tuple[int, int]]:
    """(detection, target) that belong together, of one image."""
    left, right = np.repeat(found, len(wanted)), np.tile(wanted, len(found))
    overlap = iou_of_pairs(detections.xyxy[left], targets.xyxy[right])
    order = np.argsort(-overlap, kind="stable")
    order = order[overlap[order] >= LEAST_IOU]
    pairs: list[tuple[int, int]] = []
    taken: tuple[set[int], set[int]] = (set(), set())
    for one, other in zip(left[order].tolist(), right[order].tolist(), strict=True):
        if one not in taken[0] and other not in taken[1]:
            pairs.append((one, other))
            taken[0].add(one)
            taken[1].add(other)
    return pairs
