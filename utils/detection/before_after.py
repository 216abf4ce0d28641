"""A few validation images with the detections of two networks, side by side, and what is right."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ..command.machine.device import pick_device
from ..data.darknet_files import load_data_file
from ..data.dataset import DetectionDataset, Draw
from ..data.detections import Detections
from ..data.images import read_image
from ..data.letterbox import Geometry, unit_range
from ..network.darknet import Network
from ..pictures.detections import Picture, draw_dashed, draw_detections
from ..pictures.labelled import labels_as_detections
from .as_the_cfg_says import chosen_fit, chosen_nms
from .evaluate import Predict
from .metrics import iou_of_pairs
from .nms import nms
from .options import PLAIN, NmsKind, Scoring
from .score import require_classes

USUAL_CONF = 0.25  # where no best threshold is known
SHOWN_IOU = 0.45
MATCH_IOU = 0.5
_IMAGES = 4
_LOOKED_AT = 40  # images, for some in which the first network finds something
_WELL_FILLED = 4  # boxes: as many as can still be told apart in a small picture
_LONGER_SIDE = 360  # px


def usual_or(best_conf: float | None) -> float:
    """The threshold to show boxes from: that of the best F1, where it is known."""
    return USUAL_CONF if best_conf is None or math.isnan(best_conf) else best_conf


@dataclass(frozen=True)
class Seen:
    """An image with a network's detections: labels met, and detections that met none."""

    picture: Picture
    met: int
    false: int

    def said(self, targets: int) -> str:
        """ "2 of 4 objects, 1 false"."""
        return f"{self.met} of {targets} object{'s' * (targets != 1)}, {self.false} false"


@dataclass(frozen=True)
class Shown:
    """One image, drawn twice."""

    name: str
    targets: int
    before: Seen
    after: Seen


def compare_detections(
    network: Network, compact: Network, how: Scoring, conf: float = USUAL_CONF
) -> list[Shown]:
    """`showcase` of two networks on the validation images, fed as when scoring."""
    device = pick_device(how.device)
    kind = chosen_nms(how.nms, network.heads[-1].section)
    before, after = (copy.deepcopy(one).fuse().eval().to(device) for one in (network, compact))
    dataset, names = shown_images(network, how)
    return showcase(before, after, dataset, names, conf, device, kind)


def shown_images(network: Network, how: Scoring) -> tuple[DetectionDataset, Sequence[str]]:
    """The validation images, as the network is fed with them, and the class names."""
    spec = load_data_file(how.data)
    require_classes(spec, network)
    dataset = DetectionDataset(
        spec.require("valid"),
        spec.nc,
        network.img_size,
        fit=chosen_fit(how.fit, network.cfg),
        channels=network.in_channels,
    )
    return dataset, spec.names


@torch.no_grad()
def showcase(
    before: Predict,
    after: Predict,
    dataset: DetectionDataset,
    names: Sequence[str],
    conf: float = USUAL_CONF,
    device: torch.device | str = "cpu",
    nms_kind: NmsKind = PLAIN,
) -> list[Shown]:
    """The best of `best_images` that open, with boxes of a score from `conf` on.

    First those in which `before` meets a label: where it finds nothing, there is nothing to see.
    """
    met: list[Shown] = []
    others: list[Shown] = []
    for index in best_images(dataset)[:_LOOKED_AT]:
        item, _ = dataset.fetch(Draw(index))
        if item is None:  # the image does not open: the evaluation has said so
            continue
        sample = dataset.samples[index]
        picture = np.asarray(read_image(sample.path), np.uint8)
        labels = labels_as_detections(np.asarray(sample.labels, np.float64), picture.shape[:2])
        x = unit_range(item.image.unsqueeze(0).to(device))
        both = [
            _seen(picture, _detected(predict(x), item.geometry, nms_kind, conf), labels, names)
            for predict in (before, after)
        ]
        shown = Shown(sample.path.name, len(labels), *both)
        (met if both[0].met else others).append(shown)
        if len(met) == _IMAGES:
            break
    return (met + others)[:_IMAGES]


def best_images(dataset: DetectionDataset) -> list[int]:
    """Indices of all images; first those with the most classes, then with about four boxes.

    Always the same for the same list.
    """

    def rank(index: int) -> tuple[int, int, int]:
        labels = dataset.samples[index].labels
        return -len(np.unique(labels[:, 0])), abs(len(labels) - _WELL_FILLED), index

    return sorted(range(len(dataset)), key=rank)


def judged(found: Detections, labels: Detections) -> tuple[int, int]:
    """How many labels are met, and how many detections met none.

    A label is met by the best detection of its class whose IoU is at least .5, once.
    """
    free = set(range(len(labels)))
    for place in np.argsort(-found.scores, kind="stable"):
        own = [k for k in free if labels.classes[k] == found.classes[place]]
        if own:
            box = np.repeat(found.boxes_xyxy_px[place][None], len(own), 0)
            overlap = iou_of_pairs(box, labels.boxes_xyxy_px[own])
            if overlap.max() >= MATCH_IOU:
                free.discard(own[int(overlap.argmax())])
    met = len(labels) - len(free)
    return met, len(found) - met


def _detected(predictions: Tensor, geometry: Geometry, kind: NmsKind, conf: float) -> Detections:
    """Detections in pixels of the original image."""
    aspects = [geometry.aspect]
    (found,) = nms(predictions, conf, SHOWN_IOU, multi_label=False, kind=kind, aspects=aspects)
    return found.moved(geometry.to_image)


def _seen(picture: Picture, found: Detections, labels: Detections, names: Sequence[str]) -> Seen:
    """Labels dashed and detections on a copy whose longer side is 360 px, so as to be read."""
    factor = _LONGER_SIDE / max(picture.shape[:2])
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    scaled = np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=how))
    dashed = draw_dashed(scaled.astype(np.uint8), labels.scaled(factor))
    return Seen(draw_detections(dashed, found.scaled(factor), names), *judged(found, labels))
