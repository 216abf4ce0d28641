"""A model scored on a data set, by any runtime."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import torch

from ...command.errors import UserError
from ...command.files import alone, atomic_write
from ...command.folders import whole_folder
from ...command.machine.device import pick_device
from ...data.darknet_files import load_data_file
from ...data.dataset import DetectionDataset
from ...detection.evaluate import Collected, EvalOptions, Predict, measure
from ...detection.plots.write import write_plots
from ...detection.results import Metrics
from ...detection.score import collect_on, counting_of, scoring_images
from ...network.darknet import Build, Network
from ..choose import open_backend, torch_backend, with_weights
from .options import Amp, ValOptions

_AMP_DTYPES: dict[Amp, torch.dtype | None] = {
    "off": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def evaluate_files(options: ValOptions, build: Build) -> Metrics:
    """Score a model, and write or draw what it found where `options` name a place for that.

    Raises UserError for files that are not there or do not fit each other, a device or runtime that
    is not there, and data of other classes.
    """
    with alone(*filter(None, (options.save_json, options.plots))):
        return _evaluate(options, build)


def _evaluate(options: ValOptions, build: Build) -> Metrics:
    """As `evaluate_files`, with the outputs kept for it."""
    if options.threads:
        torch.set_num_threads(options.threads)
        cv2.setNumThreads(options.threads)
    spec = load_data_file(options.scoring.data)
    network: Network = build(options.inputs.cfg, options.inputs.img_size)
    images = scoring_images(spec, network, options.scoring, options.task, options.strict)
    how = eval_options(options)
    predict = _open(options, network, torch.device(how.device))
    found = collect_on(images, predict, network, options.scoring, how)
    metrics = measure(found, spec.nc, spec.names, counting_of(options.scoring.rules))
    if options.save_json:
        write_json(options.save_json, found, images)
    if options.plots:
        with whole_folder(options.plots, "--plots") as folder:
            write_plots(folder, found, images, spec.names)
    return metrics


def eval_options(options: ValOptions) -> EvalOptions:
    """Thresholds, device and precision. Raises UserError for `half` without a GPU."""
    device = pick_device(options.scoring.device if options.backend == "torch" else "cpu")
    if options.half and device.type == "cpu":
        raise UserError("--half needs a GPU; on a CPU use --amp bf16")
    return EvalOptions(
        conf_thres=options.conf_thres,
        iou_thres=options.iou_thres,
        max_det=options.max_det,
        device=device,
        dtype=torch.float16 if options.half else torch.float32,
        channels_last=options.backend == "torch",
    )


def _open(options: ValOptions, network: Network, device: torch.device) -> Predict:
    """The files as their runtime runs them, OpenCV's epsilon included: what users will get."""
    weights = options.inputs.weights
    if options.backend != "torch":
        return open_backend(options.backend, network, weights, device, options.threads)
    dtype = torch.float16 if options.half else torch.float32
    return torch_backend(with_weights(network, weights), device, dtype, _AMP_DTYPES[options.amp])


def write_json(path: str | Path, found: Collected, images: DetectionDataset) -> None:
    """Detections as COCO's result format; category_id is the class's line in the names, from 0.

    image_id is the number that the file is named by, where all are (as in COCO), else the image's
    position in the list, from 1; `file_name` stands beside it in any case.
    """
    paths = [sample.path for sample in images.samples]
    numbered = all(p.stem.isascii() and p.stem.isdigit() for p in paths)
    boxes = found.detections
    columns = (
        boxes.image.tolist(),
        boxes.label.tolist(),
        boxes.xyxy.tolist(),
        boxes.score.tolist(),
    )
    rows = [
        {
            "image_id": int(paths[image].stem) if numbered else image + 1,
            "file_name": paths[image].name,
            "category_id": label,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for image, label, (x1, y1, x2, y2), score in zip(*columns, strict=True)
    ]
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(rows), encoding="utf-8")
