"""Exporting a model: the files are made aside, run by their own runtime, and then put in place."""

from __future__ import annotations

import copy
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..command.errors import UserError
from ..command.optional import load
from ..detection.evaluate import Predict
from ..detection.nms import nms
from ..detection.options import NmsKind
from ..network.darknet import Network
from .agreement import Agreement, compare_outputs, largest_difference
from .int8 import quantize_onnx, quantize_openvino
from .ncnn_runtime import NcnnNetwork, ncnn_from_onnx
from .onnx.export import INPUT_NAME, OnnxOptions, save_onnx
from .onnx.nms import append_nms
from .onnx.run import OnnxNetwork
from .openvino_runtime import OpenVinoNetwork, openvino_from_onnx, save_openvino
from .real_images import Images, as_batch

FORMATS = ("onnx", "openvino", "ncnn")
SUFFIXES = {"onnx": (".onnx",), "openvino": (".xml", ".bin"), "ncnn": (".ncnn.param", ".ncnn.bin")}
METADATA_SUFFIX = ".ncnn.json"  # ncnn's own files have no place for it
TOLERANCE, HALF_TOLERANCE = 1e-3, 2e-2  # largest difference from PyTorch, see Agreement


@dataclass(frozen=True)
class NmsOptions:
    """Thresholds of the suppression that a graph ends with."""

    conf_thres: float
    iou_thres: float
    max_per_class: int


@dataclass(frozen=True)
class ExportOptions:
    """What to make. calibration: images for int8; none: no int8."""

    kind: str
    img_size: tuple[int, int]
    dynamic: bool = False
    half: bool = False
    calibration: Images = ()
    nms: NmsOptions | None = None


@dataclass(frozen=True)
class Exported:
    """The files, and how their runtime's results compare with PyTorch's."""

    files: tuple[Path, ...]
    agreement: Agreement


def target_files(stem: Path, kind: str) -> tuple[Path, ...]:
    """The files that an export to STEM makes."""
    suffixes = SUFFIXES[kind] + ((METADATA_SUFFIX,) if kind == "ncnn" else ())
    return tuple(stem.with_name(stem.name + suffix) for suffix in suffixes)


def export_model(
    network: Network,
    stem: Path,
    options: ExportOptions,
    metadata: dict[str, str],
    checks: Images,
    nms_kind: NmsKind,
) -> Exported:
    """Export a loaded network to STEM's files, after running them on `checks`.

    Raises UserError when the runtime's results differ from PyTorch's by more than the tolerance
    (int8 differs by nature: the caller measures mAP), and leaves nothing then.
    """
    targets = target_files(stem, options.kind)
    try:
        folder = tempfile.TemporaryDirectory(dir=stem.parent, prefix=".export-")
    except OSError as error:
        raise UserError(f"{stem.parent}: cannot be written to ({error.strerror})") from None
    with folder as name:
        made = Path(name) / "model"
        _make(network, made, options, metadata)
        agreement = _check(network, made, options, checks, nms_kind)
        limit = HALF_TOLERANCE if options.half else TOLERANCE
        wrong = agreement.difference > limit or (agreement.unmatched and not options.half)
        if wrong and not options.calibration:
            raise UserError(
                f"{stem}: not written, since the {options.kind} model differs from PyTorch "
                f"({agreement}; allowed: {limit:g})"
            )
        for source, target in zip(target_files(made, options.kind), targets, strict=True):
            source.replace(target)
    return Exported(targets, agreement)


def open_exported(kind: str, stem: Path, network: Network, threads: int | None = None) -> Predict:
    """Run the files of an export."""
    path = target_files(stem, kind)[0]
    if kind == "onnx":
        return OnnxNetwork(path, threads)
    if kind == "openvino":
        return OpenVinoNetwork(path, threads)
    return NcnnNetwork(path, network, threads)


def _make(network: Network, stem: Path, options: ExportOptions, metadata: dict[str, str]) -> None:
    kind = options.kind
    onnx_path = stem.with_name(f"{stem.name}.float.onnx")
    graph = OnnxOptions(
        options.img_size, options.dynamic, options.half and kind == "onnx", raw=kind == "ncnn"
    )
    save_onnx(network, onnx_path, graph, metadata)
    if kind == "ncnn":
        ncnn_from_onnx(
            onnx_path, target_files(stem, kind)[0], options.img_size, network.in_channels,
            options.half,
        )  # fmt: skip
        text = json.dumps({key: metadata[key] for key in sorted(metadata)}, indent=1)
        target_files(stem, kind)[2].write_text(text, encoding="utf-8")
    elif kind == "openvino":
        model = openvino_from_onnx(onnx_path, metadata)
        if options.calibration:
            model = quantize_openvino(model, options.calibration)
        save_openvino(model, target_files(stem, kind)[0], options.half)
    else:
        target = target_files(stem, kind)[0]
        if options.calibration:
            quantize_onnx(onnx_path, target, options.calibration)
        else:
            onnx_path.replace(target)
        if options.nms:
            append_nms(target, options.nms.conf_thres, options.nms.iou_thres,
                       options.nms.max_per_class)  # fmt: skip


@torch.no_grad()
def _check(
    network: Network, stem: Path, options: ExportOptions, checks: Images, nms_kind: NmsKind
) -> Agreement:
    """Run the files and the network on the same images; two at a time where the batch is free."""
    fused: Any = copy.deepcopy(network).eval().fuse()
    images = as_batch(checks)
    expected = fused(images)
    if options.nms:
        return _check_nms(target_files(stem, "onnx")[0], images, expected, options)
    run = open_exported(options.kind, stem, network)
    agreement = compare_outputs(run(images), expected, nms_kind)
    if options.dynamic:  # another size than the one that was traced
        stride = network.stride
        smaller = images[..., : images.shape[2] - stride, :] if images.shape[2] > stride else images
        other = compare_outputs(run(smaller), fused(smaller), nms_kind)
        agreement = Agreement(
            max(agreement.difference, other.difference),
            agreement.detections,
            agreement.unmatched + other.unmatched,
        )
    return agreement


def _check_nms(path: Path, images: Tensor, expected: Tensor, options: ExportOptions) -> Agreement:
    """The graph's detections against our own suppression, by IoU alone."""
    chosen = options.nms
    if chosen is None:
        raise ValueError("the graph has no NMS")
    session = load("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    difference, total, unmatched = 0.0, 0, 0
    for image, predictions in zip(images, expected, strict=True):
        rows = torch.from_numpy(session.run(None, {INPUT_NAME: image[None].numpy()})[0])
        (kept,) = nms(
            predictions[None], chosen.conf_thres, chosen.iou_thres, max_det=10**6, multi_label=True
        )
        kept = _best_of_each_class(kept, chosen.max_per_class)
        total += len(kept)
        unmatched += abs(len(rows) - len(kept))
        if len(rows) == len(kept) and len(kept):
            ours = torch.cat((kept[:, 4:6], (kept[:, :2] + kept[:, 2:4]) / 2), 1)
            theirs = torch.cat((rows[:, 5:7], rows[:, 1:3]), 1)
            difference = max(difference, _rows_apart(ours, theirs))
    return Agreement(difference, total, unmatched)


def _best_of_each_class(rows: Tensor, most: int) -> Tensor:
    """The first `most` rows (n, 6) of every class; they are sorted, best first."""
    places = [(rows[:, 5] == label).nonzero()[:most, 0] for label in set(rows[:, 5].tolist())]
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
