"""A few validation images with the detections of two networks, side by side."""

from __future__ import annotations

import copy
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
from ..pictures.detections import Picture, draw_detections
from .as_the_cfg_says import chosen_fit, chosen_nms
from .evaluate import Predict
from .nms import nms
from .options import PLAIN, NmsKind, Scoring
from .score import require_classes

SHOWN_CONF = 0.25
SHOWN_IOU = 0.45
_IMAGES = 4
_WELL_FILLED = 4  # boxes: as many as can still be told apart in a small picture
_LONGER_SIDE = 360  # px


@dataclass(frozen=True)
class Shown:
    """One image, drawn twice, and how many boxes each network found in it."""

    name: str
    targets: int
    before: Picture
    after: Picture
    found_before: int
    found_after: int


def compare_detections(network: Network, compact: Network, how: Scoring) -> list[Shown]:
    """`showcase` of two networks on the validation images, fed as when scoring."""
    spec = load_data_file(how.data)
    require_classes(spec, network)
    dataset = DetectionDataset(
        spec.require("valid"),
        spec.nc,
        network.img_size,
        fit=chosen_fit(how.fit, network.cfg),
        channels=network.in_channels,
    )
    device = pick_device(how.device)
    kind = chosen_nms(how.nms, network.heads[-1].section)
    before, after = (copy.deepcopy(one).fuse().eval().to(device) for one in (network, compact))
    return showcase(before, after, dataset, spec.names, device, kind)


@torch.no_grad()
def showcase(
    before: Predict,
    after: Predict,
    dataset: DetectionDataset,
    names: Sequence[str],
    device: torch.device | str = "cpu",
    nms_kind: NmsKind = PLAIN,
) -> list[Shown]:
    """The best of `best_images` that open, with boxes of a score from SHOWN_CONF on."""
    shown: list[Shown] = []
    for index in best_images(dataset):
        item, _ = dataset.fetch(Draw(index))
        if item is None:  # the image does not open: the evaluation has said so
            continue
        sample = dataset.samples[index]
        picture = np.asarray(read_image(sample.path), np.uint8)
        x = unit_range(item.image.unsqueeze(0).to(device))
        drawn: list[Picture] = []
        counts: list[int] = []
        for predict in (before, after):
            rows = _detected(predict(x), item.geometry, nms_kind)
            drawn.append(_drawn(picture, rows, names))
            counts.append(len(rows))
        shown.append(
            Shown(
                name=sample.path.name,
                targets=len(sample.labels),
                before=drawn[0],
                after=drawn[1],
                found_before=counts[0],
                found_after=counts[1],
            )
        )
        if len(shown) == _IMAGES:
            break
    return shown


def best_images(dataset: DetectionDataset) -> list[int]:
    """Indices of all images; first those with the most classes, then with about four boxes.

    Always the same for the same list.
    """

    def rank(index: int) -> tuple[int, int, int]:
        labels = dataset.samples[index].labels
        return -len(np.unique(labels[:, 0])), abs(len(labels) - _WELL_FILLED), index

    return sorted(range(len(dataset)), key=rank)


def _detected(predictions: Tensor, geometry: Geometry, kind: NmsKind) -> Detections:
    """Detections in pixels of the original image."""
    (found,) = nms(
        predictions,
        SHOWN_CONF,
        SHOWN_IOU,
        multi_label=False,
        kind=kind,
        aspects=[geometry.aspect],
    )
    return found.moved(geometry.to_image)


def _drawn(picture: Picture, rows: Detections, names: Sequence[str]) -> Picture:
    """The detections on a copy whose longer side is 360 px, so that labels can be read."""
    factor = _LONGER_SIDE / max(picture.shape[:2])
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    scaled = np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=how))
    return draw_detections(scaled.astype(np.uint8), rows.scaled(factor), names)
