"""A stage of the demo in PyTorch and OpenCV; the first and the last one in a picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from ...command.files import atomic_write
from ...command.machine.timing import Latency, time_alternately_ms
from ...data.darknet_files import load_data_file
from ...data.images import read_image
from ...detection.as_the_cfg_says import chosen_fit
from ...detection.detector import Detector, DetectorOptions
from ...detection.evaluate import Predict
from ...detection.options import MAX_DET, PLAIN, Scoring
from ...detection.score import score, scoring_images
from ...network.cost import count_macs, count_parameters, file_bytes
from ...network.darknet import Build, Network
from ...pictures.detections import Picture, draw_detections
from ..opencv import OpenCVDarknet
from .results import StageFigures
from .stages import Stage

_SHOWN_CONF, _SHOWN_IOU = 0.4, 0.45
_SHOWN_IMAGES = 4
_WELL_FILLED = 3  # boxes
_ENLARGED = 2  # so that labels can be read
_RUNS, _WARMUP, _MOST_S = 100, 5, 20.0


def measure_stages(stages: Sequence[Stage], data: Path, build: Build) -> list[StageFigures]:
    """Run and score stages on the validation images of a .data file, in both runtimes.

    Structures are timed in turns, and stages of one structure have one time.
    """
    structures = {stage.cfg: stage for stage in stages}
    times = _opencv_ms(list(structures.values()), build)
    by_cfg = dict(zip(structures, times, strict=True))
    return [_measured(stage, data, build, by_cfg[stage.cfg]) for stage in stages]


def _opencv_ms(stages: Sequence[Stage], build: Build) -> list[Latency]:
    calls = []
    for stage in stages:
        opencv, image = OpenCVDarknet(stage.cfg, stage.weights), _random_image(build(stage.cfg))
        calls.append(partial(opencv, image))
    return time_alternately_ms(calls, _RUNS, _WARMUP, _MOST_S)


def _random_image(network: Network) -> torch.Tensor:
    """(1, C, H, W) in 0..1, the same each time."""
    shape = 1, network.in_channels, *network.img_size
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def _measured(stage: Stage, data: Path, build: Build, opencv_ms: Latency) -> StageFigures:
    model: Network = build(stage.cfg, weights=stage.weights).eval()
    fused: Network = build(stage.cfg, weights=stage.weights).eval().fuse()
    opencv = OpenCVDarknet(stage.cfg, stage.weights)
    image = _random_image(model)
    with torch.no_grad():
        ours = model.raw_heads(image)
    theirs = opencv.head_outputs(image)
    difference = max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
    spec, how = load_data_file(data), Scoring(workers=0)
    return StageFigures(
        stage,
        score(fused, spec, model, how, progress=False),
        score(opencv, spec, model, how, progress=False),
        count_parameters(model.rules),
        count_macs(model.rules),
        file_bytes(model.rules),
        opencv_ms,
        difference,
    )


def save_before_after(path: Path, before: Stage, after: Stage, data: Path, build: Build) -> None:
    """Validation images with OpenCV's detections: above those of `before`, below of `after`."""
    spec = load_data_file(data)
    network: Network = build(before.cfg)
    samples = scoring_images(spec, network, Scoring()).samples
    chosen = [s.path for s in samples if len(s.labels) >= _WELL_FILLED][:_SHOWN_IMAGES]
    rows = []
    for stage in (before, after):
        detector = _detector(OpenCVDarknet(stage.cfg, stage.weights), network)
        drawn = [_detected(detector, image, network.img_size, spec.names) for image in chosen]
        rows.append(np.hstack(drawn))
    with atomic_write(path) as temporary:
        cv2.imwrite(str(temporary), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


def _detector(predict: Predict, network: Network) -> Detector:
    how = DetectorOptions(
        img_size=network.img_size,
        fit=chosen_fit("cfg", network.cfg),
        nms_kind=PLAIN,
        conf_thres=_SHOWN_CONF,
        iou_thres=_SHOWN_IOU,
        max_det=MAX_DET,
        device=torch.device("cpu"),
    )
    return Detector(predict, how)


def _detected(
    detector: Detector, path: Path, size: tuple[int, int], names: Sequence[str]
) -> Picture:
    """One image as the network sees it, so that all are equally large, with its detections."""
    image = np.asarray(cv2.resize(read_image(path), size[::-1]), np.uint8)
    found, _ = detector(image)
    large = cv2.resize(image, None, fx=_ENLARGED, fy=_ENLARGED, interpolation=cv2.INTER_CUBIC)
    return draw_detections(np.asarray(large, np.uint8), found.scaled(_ENLARGED), names)
