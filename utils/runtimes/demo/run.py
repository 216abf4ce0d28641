"""A stage of the demo in PyTorch and OpenCV; the first and the last one in a picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from ...command.files import atomic_write
from ...command.machine.timing import Latency, time_alternately_ms
from ...data.darknet_files import load_data_file
from ...detection.before_after import showcase, shown_images, usual_or
from ...detection.options import Scoring
from ...detection.score import score
from ...network.cost import count_macs, count_parameters, file_bytes
from ...network.darknet import Build, Network
from ...pictures.labelled import captioned, encoded, sheet
from ..choose import open_opencv
from .results import StageFigures
from .stages import Stage

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
        network: Network = build(stage.cfg)
        opencv, image = open_opencv(network, stage.weights), _random_image(network)
        calls.append(partial(opencv, image))
    return time_alternately_ms(calls, _RUNS, _WARMUP, _MOST_S)


def _random_image(network: Network) -> torch.Tensor:
    """(1, C, H, W) in 0..1, the same each time."""
    shape = 1, network.in_channels, *network.img_size
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def _measured(stage: Stage, data: Path, build: Build, opencv_ms: Latency) -> StageFigures:
    model: Network = build(stage.cfg, weights=stage.weights).eval()
    fused: Network = build(stage.cfg, weights=stage.weights).eval().fuse()
    opencv = open_opencv(build(stage.cfg), stage.weights)
    image = _random_image(model)
    with torch.no_grad():
        ours = model.raw_heads(image)
    theirs = opencv.head_outputs(image)
    difference = max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
    spec, how = load_data_file(data), Scoring(workers=0)
    return StageFigures(
        stage,
        score(fused, spec, model, how),
        score(opencv, spec, model, how),
        count_parameters(model.rules),
        count_macs(model.rules),
        file_bytes(model.rules),
        opencv_ms,
        difference,
    )


def save_before_after(
    path: Path, before: StageFigures, after: StageFigures, data: Path, build: Build
) -> str:
    """Validation images with OpenCV's detections of two stages, above and below each other.

    Boxes are shown from the score on at which the F1 of `before` is best. Returns what the picture
    shows, for a person.
    """
    network: Network = build(before.stage.cfg)
    how = Scoring(str(data), workers=0)
    dataset, names = shown_images(network, how)
    conf = usual_or(before.opencv.best_conf)
    runs = [open_opencv(build(one.stage.cfg), one.stage.weights) for one in (before, after)]
    shown = showcase(runs[0], runs[1], dataset, names, conf)
    rows = [[one.before for one in shown], [one.after for one in shown]]
    drawn = [
        captioned(seen.picture, f"{when}: {seen.said(one.targets)}")
        for when, row in zip(("before", "after"), rows, strict=True)
        for seen, one in zip(row, shown, strict=True)
    ]
    with atomic_write(path) as temporary:
        temporary.write_bytes(encoded(sheet(drawn, len(shown)), path.suffix))
    met = [sum(seen.met for seen in row) for row in rows]
    false = [sum(seen.false for seen in row) for row in rows]
    objects = sum(one.targets for one in shown)
    return (
        f"{objects} objects in {len(shown)} images, boxes from a score of {conf:.2f} on (best F1): "
        f"before {met[0]} met, {false[0]} false; after {met[1]} met, {false[1]} false"
    )
