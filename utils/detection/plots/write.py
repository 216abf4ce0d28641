"""The files that users of ultralytics look for beside an evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...command.files import atomic_write
from ...data.dataset import DetectionDataset
from ...data.detections import Detections
from ...data.images import UnreadableImageError, read_image
from ...pictures.detections import Picture
from ...pictures.labelled import as_rgb, drawn_cell, encoded, labels_as_detections, sheet
from ..evaluate import Collected
from ..metrics import RECALL_POINTS, match_detections
from .confusion import LEAST_IOU, confusion
from .curves import score_curves

SHOWN_IMAGES, COLUMNS = 16, 4
_CONF_OF_NOTHING = 0.25  # where nothing is found, and no threshold is the best


def write_plots(
    folder: Path, collected: Collected, images: DetectionDataset, names: Sequence[str]
) -> None:
    """PR, P, R and F1 curves, confusion matrix, and the first images' labels and detections.

    Detections that are shown or counted have at least the score at which F1 is highest. A data set
    without targets has no curves.
    """
    from ...pictures.charts import save_png  # matplotlib takes a second to load
    from ...pictures.score_charts import confusion_chart, curve_chart

    curves = score_curves(match_detections(collected.detections, collected.targets, images.nc))
    found = not math.isnan(curves.best_conf)
    conf = curves.best_conf if found else _CONF_OF_NOTHING
    counts = confusion(collected.detections, collected.targets, images.nc, conf)
    why = "best F1" if found else "nothing is found"
    title = f"detections from {conf:.3f} on ({why}), IoU {LEAST_IOU:g}"
    figures = {"confusion_matrix.png": confusion_chart(counts, names, title)}
    own = [names[c] for c in curves.classes]
    if own:
        axis = ("confidence", curves.confidence)
        mark = conf if found else None
        figures |= {
            "PR_curve.png": curve_chart(
                ("recall", RECALL_POINTS), "precision", curves.envelope, own
            ),
            "P_curve.png": curve_chart(axis, "precision", curves.precision, own, mark),
            "R_curve.png": curve_chart(axis, "recall", curves.recall, own, mark),
            "F1_curve.png": curve_chart(axis, "F1", curves.f1, own, mark),
        }
    for name, figure in figures.items():
        with atomic_write(folder / name) as temporary:
            save_png(figure, temporary)
    _write_pictures(folder, collected, images, names, conf)


def _write_pictures(
    folder: Path, collected: Collected, images: DetectionDataset, names: Sequence[str], conf: float
) -> None:
    """val_batch0_labels.jpg and val_batch0_pred.jpg: the first images that open."""
    labels: list[Picture] = []
    found: list[Picture] = []
    for index, sample in enumerate(images.samples):
        if len(labels) == SHOWN_IMAGES:
            break
        try:
            image = as_rgb(np.asarray(read_image(sample.path, channels=images.channels), np.uint8))
        except UnreadableImageError:
            continue
        there = labels_as_detections(sample.labels.astype(np.float64), image.shape[:2])
        labels.append(drawn_cell(image, there, names, with_scores=False))
        found.append(drawn_cell(image, _detections(collected, index, conf), names))
    for name, pictures in (("labels", labels), ("pred", found)):
        if pictures:
            with atomic_write(folder / f"val_batch0_{name}.jpg") as temporary:
                temporary.write_bytes(encoded(sheet(pictures, COLUMNS), ".jpg"))


def _detections(collected: Collected, image: int, conf: float) -> Detections:
    """What was found in one image, from `conf` on."""
    boxes = collected.detections
    own = (boxes.image == image) & (boxes.score >= conf)
    return Detections(boxes.xyxy[own], boxes.score[own], boxes.label[own])
