"""Scoring a detector on a data set: forward, NMS, and COCO's metrics in the original images."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..command.machine.ahead import Ahead
from ..command.machine.timing import synchronize
from ..command.progress import progress_bar
from ..data.dataset import DetectionDataset
from ..data.detections import Detections
from ..data.letterbox import unit_range
from ..data.loader import Batch, Loader
from .metrics import COCO_COUNTING, Boxes, ClassScores, Counting, mean_of_valid, score_detections
from .nms import nms
from .options import CONF_THRES, IOU_THRES, MAX_DET, PLAIN, NmsKind
from .results import ClassRow, Metrics, Seconds

Predict = Callable[[Tensor], Tensor]


class Batches(Protocol):
    """The batches of a data set: a loader, or what one has loaded."""

    @property
    def dataset(self) -> DetectionDataset: ...

    def __iter__(self) -> Iterator[Batch]: ...

    def __len__(self) -> int: ...


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
    comparable. clipped: what lies beyond the image is cut off.
    """

    conf_thres: float = CONF_THRES
    iou_thres: float = IOU_THRES
    max_det: int = MAX_DET
    multi_label: bool = True
    nms_kind: NmsKind = PLAIN
    clipped: bool = True
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    channels_last: bool = False

    def with_nms(self, kind: NmsKind) -> EvalOptions:
        """The same, with another kind of suppression."""
        return dataclasses.replace(self, nms_kind=kind)


DEFAULTS = EvalOptions()


def evaluate(
    predict: Predict,
    loader: Batches,
    nc: int,
    names: Sequence[str],
    options: EvalOptions = DEFAULTS,
    progress: bool = True,
) -> Metrics:
    """Score `predict` on a loader's data set, against the original labels.

    `predict` maps images, (B, 3, H, W) RGB in 0..1 of the options' type and device, to (B, N,
    5 + nc): xywh in input pixels, objectness, class probabilities. A model in eval mode does so, or
    a runtime. The default suppression is by IoU alone; the commands ask for the cfg's kind (see
    `score.score`, which also makes the loader).
    """
    return measure(collect(predict, loader, nc, options, progress), nc, names)


@torch.no_grad()
def collect(
    predict: Predict, loader: Batches, nc: int, options: EvalOptions, progress: bool = True
) -> Collected:
    """Run `predict` over a loader. Raises ValueError when its output has another shape.

    NMS of a batch, and loading where no other process does that, go on beside the forward pass.
    """
    spent = {"data": 0.0, "forward": 0.0, "nms": 0.0}
    images: list[int] = []
    found: list[Detections] = []
    truth: list[Detections] = []

    def choose(predictions: Tensor, batch: Batch) -> None:
        start = time.perf_counter()
        kept = nms(
            predictions,
            options.conf_thres,
            options.iou_thres,
            options.max_det,
            options.multi_label,
            kind=options.nms_kind,
            aspects=[geometry.aspect for geometry in batch.geometries],
        )
        images.extend(batch.indices)
        for own, geometry, index in zip(kept, batch.geometries, batch.indices, strict=True):
            back = geometry.to_image if options.clipped else geometry.beyond_image
            found.append(own.moved(back))
            truth.append(_targets(loader.dataset.samples[index].labels, geometry.image_hw))
        spent["nms"] += time.perf_counter() - start

    with _loaded_ahead(loader) as batches, ThreadPoolExecutor(1) as thread:
        chosen: Future[None] | None = None
        start = time.perf_counter()
        for batch in progress_bar(batches, "evaluating", "batch", len(loader), show=progress):
            loaded = time.perf_counter()
            predictions = predict(_to_input(batch.images, options))
            _check_shape(predictions, len(batch.images), nc)
            synchronize()
            spent["data"] += loaded - start
            start = time.perf_counter()
            spent["forward"] += start - loaded
            if chosen is not None:
                chosen.result()  # one at a time: the order stays, and the memory
            # A runtime may use its memory again in the next pass.
            chosen = thread.submit(choose, predictions.clone(), batch)
        if chosen is not None:
            chosen.result()
    seconds = Seconds(**spent, metrics=0.0)
    return Collected(Boxes.of(images, found), Boxes.of(images, truth), len(images), seconds)


def _loaded_ahead(loader: Batches) -> AbstractContextManager[Iterable[Batch]]:
    """The batches of a loader; one that has no workers loads the next one in a thread."""
    if isinstance(loader, Loader) and loader.workers == 0:
        return Ahead(loader, 1)
    return nullcontext(loader)


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
    counting: Counting = COCO_COUNTING,
) -> Metrics:
    """The metrics of collected detections."""
    start = time.perf_counter()
    scores = score_detections(collected.detections, collected.targets, nc, counting)
    spent = dataclasses.replace(collected.seconds, metrics=time.perf_counter() - start)
    return Metrics(
        map50=mean_of_valid(scores.ap[:, 0]),
        map=mean_of_valid(scores.ap),
        precision=mean_of_valid(scores.precision),
        recall=mean_of_valid(scores.recall),
        f1=mean_of_valid(scores.f1),
        best_conf=scores.best_conf,
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
    return unit_range(images.to(options.device, non_blocking=True), options.dtype, layout)


def _check_shape(predictions: object, images: int, nc: int) -> None:
    if not isinstance(predictions, Tensor):
        raise ValueError("predict gave no tensor; is the model in eval mode?")
    shape = tuple(predictions.shape)
    if len(shape) != 3 or (shape[0], shape[2]) != (images, 5 + nc):
        raise ValueError(f"predict gave {shape}, expected ({images}, N, {5 + nc}) for {nc} classes")


def _targets(labels: NDArray[np.float32], image_hw: tuple[int, int]) -> Detections:
    """(n, 5) class, xc, yc, w, h normalised to the image -> boxes in its pixels, score 1."""
    height, width = image_hw
    centre, half = labels[:, 1:3].astype(np.float64), labels[:, 3:5].astype(np.float64) / 2
    corners = np.hstack((centre - half, centre + half)) * (width, height, width, height)
    return Detections(corners, np.ones(len(labels)), labels[:, 0].astype(np.int64))


def _concatenated(parts: Sequence[Boxes]) -> Boxes:
    names = ("image", "label", "xyxy", "score")
    return Boxes(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
