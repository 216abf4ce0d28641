"""Scoring a detector on a data set: forward, NMS, and COCO's metrics in the original images."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from terminaltables import AsciiTable
from torch import Tensor

from ..command.progress import progress_bar
from ..command.timing import synchronize
from ..data.loader import Loader
from .metrics import MAX_DET_PER_CLASS, Boxes, ClassScores, mean_of_valid, score_detections
from .nms import nms
from .options import CONF_THRES, IOU_THRES, MAX_DET, PLAIN, NmsKind

Predict = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Seconds:
    """Where the time of an evaluation went, for the whole data set."""

    data: float  # waiting for images
    forward: float
    nms: float  # and the way back to the original images
    metrics: float


@dataclass(frozen=True)
class ClassRow:
    """Results of one class; nan where it has no targets."""

    name: str
    images: int  # that hold the class
    targets: int
    precision: float  # at IoU .5 and this class's `confidence`
    recall: float
    f1: float
    confidence: float  # where F1 is best
    map50: float
    map: float  # mean over IoU .5:.05:.95


@dataclass(frozen=True)
class Metrics:
    """Results of a data set; means are over the classes that have targets (nan without any)."""

    map50: float
    map: float
    precision: float
    recall: float
    f1: float
    images: int
    targets: int
    per_class: tuple[ClassRow, ...]
    seconds: Seconds

    def table(self, every_class: bool = True) -> str:
        """A table with the means first; classes without targets are left out."""
        heads = ("class", "images", "targets", "P", "R", "mAP@.5", "mAP@.5:.95")
        means = (
            "all",
            self.images,
            self.targets,
            self.precision,
            self.recall,
            self.map50,
            self.map,
        )
        rows = [heads, _cells(means)]
        shown = [row for row in self.per_class if row.targets] if every_class else []
        rows += [
            _cells((c.name, c.images, c.targets, c.precision, c.recall, c.map50, c.map))
            for c in shown
        ]
        table = AsciiTable([list(row) for row in rows])
        table.justify_columns = dict.fromkeys(range(1, len(heads)), "right")
        return str(table.table)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and text for JSON, which knows no nan: None there."""
        return {key: _plain(value) for key, value in dataclasses.asdict(self).items()}


@dataclass(frozen=True)
class Collected:
    """All detections and targets of a data set, in pixels of the original images."""

    detections: Boxes
    targets: Boxes
    images: int
    seconds: Seconds  # metrics still 0


@dataclass(frozen=True)
class EvalOptions:
    """How images are fed and boxes are chosen.

    conf_thres, iou_thres, max_det, multi_label and nms_kind are those of `utils.nms.nms`. The
    threshold is low on purpose: mAP needs the whole curve, and one threshold makes all figures
    comparable.
    """

    conf_thres: float = CONF_THRES
    iou_thres: float = IOU_THRES
    max_det: int = MAX_DET
    multi_label: bool = True
    nms_kind: NmsKind = PLAIN
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    channels_last: bool = False

    def with_nms(self, kind: NmsKind) -> EvalOptions:
        """The same, with another kind of suppression."""
        return dataclasses.replace(self, nms_kind=kind)


def evaluate(
    predict: Predict,
    loader: Loader,
    nc: int,
    names: Sequence[str],
    *,
    conf_thres: float = CONF_THRES,
    iou_thres: float = IOU_THRES,
    max_det: int = MAX_DET,
    nms_kind: NmsKind = PLAIN,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
    progress: bool = True,
) -> Metrics:
    """Score `predict` on a loader's data set, against the original labels.

    `predict` maps images, (B, 3, H, W) RGB in 0..1 of `dtype` on `device`, to (B, N, 5 + nc): xywh
    in input pixels, objectness, class probabilities. A model in eval mode does so, or a runtime.
    `nms_kind` is plain suppression unless given; the commands give the cfg's (`chosen_nms`).
    """
    options = EvalOptions(
        conf_thres=conf_thres,
        iou_thres=iou_thres,
        max_det=max_det,
        nms_kind=nms_kind,
        device=device,
        dtype=dtype,
        channels_last=channels_last,
    )
    return measure(collect(predict, loader, nc, options, progress), nc, names)


@torch.no_grad()
def collect(
    predict: Predict, loader: Loader, nc: int, options: EvalOptions, progress: bool = True
) -> Collected:
    """Run `predict` over a loader. Raises ValueError when its output has another shape."""
    spent = {"data": 0.0, "forward": 0.0, "nms": 0.0}
    found: list[NDArray[np.float64]] = []  # (n, 7): image, class, x1, y1, x2, y2, score
    truth: list[NDArray[np.float64]] = []
    start = time.perf_counter()
    for batch in progress_bar(loader, "evaluating", "batch", show=progress):
        loaded = time.perf_counter()
        predictions = predict(_to_input(batch.images, options))
        _check_shape(predictions, len(batch.images), nc)
        synchronize()
        predicted = time.perf_counter()
        kept = nms(
            predictions,
            options.conf_thres,
            options.iou_thres,
            options.max_det,
            options.multi_label,
            kind=options.nms_kind,
            aspects=[geometry.aspect for geometry in batch.geometries],
        )
        for rows, geometry, index in zip(kept, batch.geometries, batch.indices, strict=True):
            found.append(_detection_rows(rows, geometry.to_image(rows[:, :4].double()), index))
            truth.append(
                _target_rows(loader.dataset.samples[index].labels, geometry.image_hw, index)
            )
        spent["data"] += loaded - start
        spent["forward"] += predicted - loaded
        start = time.perf_counter()
        spent["nms"] += start - predicted
    seconds = Seconds(**spent, metrics=0.0)
    return Collected(_boxes(found), _boxes(truth), len(found), seconds)


def joined(parts: Sequence[Collected]) -> Collected:
    """What several processes have collected of one data set; the seconds are the slowest's."""
    return Collected(
        _concatenated([part.detections for part in parts]),
        _concatenated([part.targets for part in parts]),
        sum(part.images for part in parts),
        max((part.seconds for part in parts), key=lambda spent: spent.forward),
    )


def measure(
    collected: Collected,
    nc: int,
    names: Sequence[str],
    max_det_per_class: int = MAX_DET_PER_CLASS,
) -> Metrics:
    """COCO's metrics of collected detections."""
    start = time.perf_counter()
    scores = score_detections(collected.detections, collected.targets, nc, max_det_per_class)
    spent = dataclasses.replace(collected.seconds, metrics=time.perf_counter() - start)
    return Metrics(
        map50=mean_of_valid(scores.ap[:, 0]),
        map=mean_of_valid(scores.ap),
        precision=mean_of_valid(scores.precision),
        recall=mean_of_valid(scores.recall),
        f1=mean_of_valid(scores.f1),
        images=collected.images,
        targets=int(scores.targets.sum()),
        per_class=tuple(_class_row(scores, c, names) for c in range(nc)),
        seconds=spent,
    )


def _class_row(scores: ClassScores, c: int, names: Sequence[str]) -> ClassRow:
    return ClassRow(
        name=names[c] if c < len(names) else str(c),
        images=int(scores.images[c]),
        targets=int(scores.targets[c]),
        precision=float(scores.precision[c]),
        recall=float(scores.recall[c]),
        f1=float(scores.f1[c]),
        confidence=float(scores.confidence[c]),
        map50=float(scores.ap[c, 0]),
        map=float(scores.ap[c].mean()),
    )


def _to_input(images: Tensor, options: EvalOptions) -> Tensor:
    """uint8 (B, 3, H, W) -> 0..1; the division happens after the (smaller) transfer."""
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    moved = images.to(options.device, non_blocking=True)
    return moved.to(options.dtype, memory_format=layout) / 255


def _check_shape(predictions: object, images: int, nc: int) -> None:
    if not isinstance(predictions, Tensor):
        raise ValueError("predict gave no tensor; is the model in eval mode?")
    shape = tuple(predictions.shape)
    if len(shape) != 3 or (shape[0], shape[2]) != (images, 5 + nc):
        raise ValueError(f"predict gave {shape}, expected ({images}, N, {5 + nc}) for {nc} classes")


def _detection_rows(rows: Tensor, xyxy: Tensor, index: int) -> NDArray[np.float64]:
    """(n, 6) x1, y1, x2, y2, score, class and boxes in the original image -> (n, 7)."""
    image = torch.full((len(rows), 1), index)
    return torch.cat((image, rows[:, 5:6], xyxy, rows[:, 4:5]), dim=1).numpy()


def _target_rows(
    labels: NDArray[np.float32], image_hw: tuple[int, int], index: int
) -> NDArray[np.float64]:
    """(n, 5) class, xc, yc, w, h normalised to the image -> (n, 7), score 1."""
    height, width = image_hw
    centre, half = labels[:, 1:3].astype(np.float64), labels[:, 3:5].astype(np.float64) / 2
    corners = np.hstack((centre - half, centre + half)) * (width, height, width, height)
    image, score = np.full((len(labels), 1), index), np.ones((len(labels), 1))
    return np.hstack((image, labels[:, :1], corners, score))


def _concatenated(parts: Sequence[Boxes]) -> Boxes:
    names = ("image", "label", "xyxy", "score")
    return Boxes(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _boxes(parts: Sequence[NDArray[np.float64]]) -> Boxes:
    rows = np.concatenate([np.zeros((0, 7)), *parts])
    return Boxes(rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64), rows[:, 2:6], rows[:, 6])


def _cells(values: Sequence[object]) -> tuple[str, ...]:
    return tuple(f"{v:.3f}" if isinstance(v, float) else str(v) for v in values)


def _plain(value: Any) -> Any:
    """Nested containers with None for nan."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
