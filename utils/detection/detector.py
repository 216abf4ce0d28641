"""From a picture to its detections: fit it, run the network, suppress, go back to its pixels."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..command.machine.timing import synchronize
from ..data.detections import Detections
from ..data.letterbox import letterbox, picture_input
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


class Detector:
    """`detector(picture)`: (h, w, channels) -> boxes in its pixels, best first, and the times.

    `faint` counts the boxes from `faint_conf` on of the latest picture, if it shows nothing else.
    """

    faint = 0

    def __init__(self, predict: Predict, options: DetectorOptions) -> None:
        self._predict = predict
        self._options = options
        # The first pass allocates and picks kernels: it would be the first picture's time.
        self(np.zeros((*options.img_size, options.channels), np.uint8))

    @property
    def channels(self) -> int:
        """How many channels the pictures must have."""
        return self._options.channels

    @torch.no_grad()
    def __call__(self, picture: ByteArray) -> tuple[Detections, Milliseconds]:
        """What is in a picture (h, w, channels), in its own pixels, and the time it took."""
        options = self._options
        times = [time.perf_counter()]
        fitted, geometry = letterbox(picture, options.img_size, options.fit)
        images = picture_input(fitted, options.device)
        times.append(time.perf_counter())
        predictions = self._predict(images)
        synchronize()
        times.append(time.perf_counter())
        found = self._chosen(predictions, options.conf_thres, geometry.aspect)
        found = found.moved(geometry.to_image)
        times.append(time.perf_counter())
        self.faint = 0
        if not len(found) and options.faint_conf < options.conf_thres:
            self.faint = len(self._chosen(predictions, options.faint_conf, geometry.aspect))
        spent = (1e3 * (b - a) for a, b in itertools.pairwise(times))
        return found, Milliseconds(*spent)

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
