"""From a picture to its detections: fit it, run the network, suppress, go back to its pixels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..command.machine.timing import synchronize
from ..data.detections import Detections
from ..data.letterbox import Geometry, letterbox, pictures_input
from ..data.options import Fit
from ..data.pixels import ByteArray
from .evaluate import Predict
from .nms import nms
from .options import NmsKind
from .results import Milliseconds


@dataclass(frozen=True)
class DetectorOptions:
    """How pictures are fed and boxes are chosen: the parameters of `letterbox` and `nms`."""

    img_size: tuple[int, int]  # height, width of the network's input
    fit: Fit
    nms_kind: NmsKind
    conf_thres: float
    iou_thres: float
    max_det: int
    device: torch.device
    channels: int = 3  # of the pictures that the network reads
    faint_conf: float = 1.0  # below conf_thres: what is counted where nothing else is found


@dataclass(frozen=True)
class Fitted:
    """A picture as the network's input (H, W, C), and the time that took."""

    image: ByteArray
    geometry: Geometry
    prepare_ms: float


@dataclass(frozen=True)
class Found:
    """What is in a picture, in its own pixels, best first.

    faint: the boxes from `faint_conf` on, where it shows nothing else. ms: of a batch, the
    picture's share of the forward pass.
    """

    boxes: Detections
    ms: Milliseconds
    faint: int


class Detector:
    """`detector(picture)`: (h, w, channels) -> what is in it. `fit` and `found` are its two halves.

    `fit` may run in another thread than `found`.
    """

    def __init__(self, predict: Predict, options: DetectorOptions) -> None:
        self._predict = predict
        self._options = options
        # The first pass allocates and picks kernels: it would be the first picture's time.
        self(np.zeros((*options.img_size, options.channels), np.uint8))

    @property
    def channels(self) -> int:
        """How many channels the pictures must have."""
        return self._options.channels

    def __call__(self, picture: ByteArray) -> Found:
        """What is in a picture (h, w, channels)."""
        (found,) = self.found([self.fit(picture)])
        return found

    def fit(self, picture: ByteArray) -> Fitted:
        """A picture (h, w, channels) as the network's input."""
        start = time.perf_counter()
        image, geometry = letterbox(picture, self._options.img_size, self._options.fit)
        return Fitted(image, geometry, 1e3 * (time.perf_counter() - start))

    @torch.no_grad()
    def found(self, fitted: Sequence[Fitted]) -> list[Found]:
        """What is in some pictures, in their order, by one forward pass; of none, nothing."""
        if not fitted:
            return []
        options = self._options
        start = time.perf_counter()
        images = pictures_input([one.image for one in fitted], options.device)
        moved = time.perf_counter()
        predictions = self._predict(images)
        synchronize()
        moved_ms = 1e3 * (moved - start) / len(fitted)
        forward_ms = 1e3 * (time.perf_counter() - moved) / len(fitted)
        return [
            self._one(predictions[k : k + 1], one, moved_ms, forward_ms)
            for k, one in enumerate(fitted)
        ]

    def _one(
        self, predictions: Tensor, fitted: Fitted, moved_ms: float, forward_ms: float
    ) -> Found:
        """What the boxes of one picture, (1, N, 5 + nc), come to."""
        options, geometry = self._options, fitted.geometry
        start = time.perf_counter()
        boxes = self._chosen(predictions, options.conf_thres, geometry.aspect)
        boxes = boxes.moved(geometry.to_image)
        nms_ms = 1e3 * (time.perf_counter() - start)
        faint = 0
        if not len(boxes) and options.faint_conf < options.conf_thres:
            faint = len(self._chosen(predictions, options.faint_conf, geometry.aspect))
        return Found(boxes, Milliseconds(fitted.prepare_ms + moved_ms, forward_ms, nms_ms), faint)

    def _chosen(self, predictions: Tensor, conf_thres: float, aspect: float) -> Detections:
        """What NMS leaves of one picture's boxes, in pixels of the network's input."""
        options = self._options
        (found,) = nms(
            predictions,
            conf_thres,
            options.iou_thres,
            options.max_det,
            multi_label=False,
            kind=options.nms_kind,
            aspects=[aspect],
        )
        return found
