"""An export's files run on real images beside the network that they were made of."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...command.optional import load
from ...data.detections import Detections
from ...detection.nms import nms
from ...detection.options import NmsKind
from ...network.darknet import Network
from ..agreement import compare_outputs, largest_difference
from ..onnx.export import INPUT_NAME
from ..real_images import Images, as_batch
from ..results import Agreement
from .files import FileOptions, open_exported
from .options import NmsOptions, target_files


@torch.no_grad()
def check_files(
    network: Network, stem: Path, options: FileOptions, images: Images, nms_kind: NmsKind
) -> Agreement:
    """Run STEM's files and the network on the same images, at two sizes where they take any."""
    fused: Network = copy.deepcopy(network).eval().fuse()
    batch = as_batch(images)
    expected = fused(batch)
    if options.nms:
        return _check_nms(target_files(stem, "onnx")[0], batch, expected, options.nms)
    run = open_exported(options.kind, stem, network)
    agreement = compare_outputs(run(batch), expected, nms_kind)
    if options.dynamic:  # another size than the one that was traced
        stride = network.stride
        smaller = batch[..., : batch.shape[2] - stride, :] if batch.shape[2] > stride else batch
        other = compare_outputs(run(smaller), fused(smaller), nms_kind)
        agreement = Agreement(
            max(agreement.difference, other.difference),
            agreement.detections,
            agreement.unmatched + other.unmatched,
            agreement.conf,
        )
    return agreement


def _check_nms(path: Path, images: Tensor, expected: Tensor, chosen: NmsOptions) -> Agreement:
    """The graph's detections against our own suppression, by IoU alone."""
    session = load("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    difference, total, unmatched = 0.0, 0, 0
    for image, predictions in zip(images, expected, strict=True):
        rows = torch.from_numpy(session.run(None, {INPUT_NAME: image[None].numpy()})[0])
        (found,) = nms(
            predictions[None], chosen.conf_thres, chosen.iou_thres, max_det=10**6, multi_label=True
        )
        kept = _best_of_each_class(_rows(found), chosen.max_per_class)
        total += len(kept)
        unmatched += abs(len(rows) - len(kept))
        if len(rows) == len(kept) and len(kept):
            theirs = torch.cat((rows[:, 5:7], rows[:, 1:3]), 1)
            difference = max(difference, _rows_apart(kept, theirs))
    return Agreement(difference, total, unmatched, chosen.conf_thres)


def _rows(found: Detections) -> Tensor:
    """(n, 4) float32: score, class, x and y of the centre."""
    boxes = torch.from_numpy(found.boxes_xyxy_px).float()
    scores, classes = (torch.from_numpy(part).float() for part in (found.scores, found.classes))
    return torch.cat((scores[:, None], classes[:, None], (boxes[:, :2] + boxes[:, 2:]) / 2), 1)


def _best_of_each_class(rows: Tensor, most: int) -> Tensor:
    """The first `most` rows (n, 4) of every class; they are sorted, best first."""
    places = [(rows[:, 1] == label).nonzero()[:most, 0] for label in set(rows[:, 1].tolist())]
    return rows[torch.cat(places).sort().values] if places else rows


def _rows_apart(a: Tensor, b: Tensor) -> float:
    """Largest difference of two sets of rows (score, class, x, y), whatever their order."""
    ordered = [
        rows[np.lexsort((rows[:, 3].round().numpy(), rows[:, 0].numpy(), rows[:, 1].numpy()))]
        for rows in (a, b)
    ]
    return largest_difference(_wide(ordered[0]), _wide(ordered[1]))


def _wide(rows: Tensor) -> Tensor:
    """(n, 4) score, class, x, y as (1, n, 6): x, y, x, y, score, class, as predictions have it."""
    return torch.stack((rows[:, 2], rows[:, 3], rows[:, 2], rows[:, 3], rows[:, 0], rows[:, 1]), 1)[
        None
    ]
