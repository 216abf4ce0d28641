"""Anchors of a network by k-means over the boxes of a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...cfg import Cfg
from ...data.anchors import (
    COVERED_IOU,
    AnchorFit,
    FloatArray,
    box_sizes_px,
    cluster_anchors,
    measure_fit,
)
from ...data.options import Fit
from ...data.problems import report_problems
from ...data.samples import load_samples
from ..layers import input_shape
from .retarget import anchor_count, heads_of, with_anchors


def fit_anchors(
    cfg: Cfg, list_path: Path, fit: Fit, seed: int
) -> tuple[Cfg, tuple[AnchorFit, AnchorFit]]:
    """The cfg with anchors for the boxes of a list, and how well the old and the new ones suit.

    Raises UserError for a list without usable images, or with too few boxes.
    """
    samples, problems = load_samples(list_path, heads_of(cfg)[0].nc)
    report_problems(list_path, problems, strict=False)
    _, height, width = input_shape(cfg)
    sizes_px = box_sizes_px(samples, (height, width), fit)
    changed = with_anchors(cfg, cluster_anchors(sizes_px, anchor_count(cfg), seed))
    old, new = (measure_fit(_used_px(found), sizes_px) for found in (cfg, changed))
    return changed, (old, new)


def fit_lines(old: AnchorFit, new: AnchorFit) -> str:
    """What new anchors are worth, beside the old ones."""
    return (
        f"mean IoU of a box with its best anchor: {old.mean_iou:.3f} -> {new.mean_iou:.3f}\n"
        f"boxes with an IoU above {COVERED_IOU}: {old.covered:.1%} -> {new.covered:.1%}"
    )


def _used_px(cfg: Cfg) -> FloatArray:
    """Width and height (n, 2), in network pixels, of the anchors that the heads use."""
    return np.array([pair for head in heads_of(cfg) for pair in head.anchors_px], np.float64)
