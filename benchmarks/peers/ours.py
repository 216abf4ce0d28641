"""darkslim's side of the rows: one row a process.

python -m benchmarks.peers.ours loader --threads 1 --work runs/peers
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import torch

from benchmarks.peers.measure import Seconds, material, repeated, say, timed
from benchmarks.train_step import DEFAULT, VARIANTS, make_step
from models import Darknet
from utils.cfg import format_cfg
from utils.command.machine.allocator import keep_freed_memory
from utils.data.darknet_files import load_data_file
from utils.detection.options import Inputs, Scoring
from utils.network.cost import count_macs
from utils.network.initialize import initialize
from utils.runtimes.detect.options import DetectOptions
from utils.runtimes.detect.run import detect_files
from utils.runtimes.val.options import ValOptions
from utils.runtimes.val.run import evaluate_files
from utils.training import loop
from utils.training.batches import make_loaders
from utils.training.optimization.layout import Work, faster_layout
from utils.training.optimization.options import OptimizerOptions
from utils.training.optimization.precision import resolve_precision
from utils.training.options import (
    EpochOptions,
    ImageOptions,
    MachineOptions,
    StartOptions,
    TrainOptions,
)
from utils.training.run import train_network

_LONG_STEPS = 100_000  # of a training that tries both layouts


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("row", choices=tuple(ROWS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", required=True)
    parser.add_argument("--img-size", type=int, default=320)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--classes", type=int, default=80)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    torch.manual_seed(0)
    ROWS[args.row](args, material(args.work))


def loader(args: Any, paths: dict[str, Any]) -> None:
    """Epochs of augmented batches, from the files: the first one, and those after it."""
    keep_freed_memory()
    spec = load_data_file(paths["data"])
    size = (args.img_size, args.img_size)
    images = ImageOptions(size=size, batch_size=args.batch_size, workers=0, fit="letterbox")
    asked = TrainOptions(cfg=paths["our_base"], data=paths["data"], images=images)
    network = Darknet(paths["our_base"], size)
    batches = make_loaders(asked, spec, network, torch.device("cpu")).train

    def epoch() -> int:
        return sum(len(batch.images) for batch in batches)

    say([timed(epoch)], later=[timed(epoch) for _ in range(args.runs)])


def step(args: Any, paths: dict[str, Any]) -> None:
    """Forward, loss, backward, clipping, SGD, moving average, as a long training lays it out."""
    keep_freed_memory()
    size = (args.img_size, args.img_size)
    model = Darknet(paths["our_step"], size).train()
    initialize(model.layers, model.heads)
    variant = VARIANTS[DEFAULT]
    precision = resolve_precision(variant.amp, torch.device("cpu"))
    work = Work(args.batch_size, _LONG_STEPS, count_macs(model.rules))
    last = faster_layout(model, (3, *size), precision, work, format_cfg(model.cfg))
    layout = torch.channels_last if last else torch.contiguous_format
    model.to(memory_format=layout)  # type: ignore[call-overload]
    images = torch.rand(args.batch_size, 3, *size).to(memory_format=layout)
    train = make_step(model, variant, images)
    say(repeated(lambda: train([]), 2, args.runs))


def epoch(args: Any, paths: dict[str, Any]) -> None:
    """Epochs of the training loop; the first one warms up."""
    seconds: list[Seconds] = []
    whole = loop.train_epoch

    def one(*given: Any) -> Any:
        rows: list[Any] = []
        seconds.append(timed(lambda: rows.append(whole(*given))))
        return rows[0]

    setattr(loop, "train_epoch", one)  # noqa: B010 (mypy holds a function for a constant)
    with tempfile.TemporaryDirectory() as folder:
        train_network(
            TrainOptions(
                cfg=paths["our_base"],
                data=paths["data"],
                epochs=1 + args.runs,
                project=folder,
                start=StartOptions(weights=str(Path(paths["our_base"]).with_suffix(".weights"))),
                images=ImageOptions(
                    size=(args.img_size, args.img_size), batch_size=args.batch_size,
                    workers=0, fit="letterbox", close_mosaic=0,
                ),
                optimizer=OptimizerOptions(kind="adamw", lr0=0.0015),
                after_epoch=EpochOptions(nosave=True, notest=True, noplots=True),
                machine=MachineOptions(device="cpu", threads=args.threads),
            ),
            Darknet,
        )  # fmt: skip
    say(seconds[1:])


def val(args: Any, paths: dict[str, Any]) -> None:
    """Scoring a list of images, from the files, with all that belongs to it."""
    found: list[float] = []
    model = inputs(args, paths)
    how = Scoring(paths["scored_data"], batch_size=args.batch_size, workers=0, device="cpu")

    def score() -> None:
        metrics = evaluate_files(ValOptions(model, how, threads=args.threads), Darknet)
        found.append(metrics.map50)

    say(repeated(score, 1, args.runs), map50=found[-1])


def detect(args: Any, paths: dict[str, Any]) -> None:
    """A folder of pictures: found, drawn, written."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            out = str(Path(folder) / "out")
            detect_files(
                DetectOptions(
                    inputs(args, paths), paths["pictures"], output=out, device="cpu",
                    threads=args.threads,
                ),
                Darknet,
            )  # fmt: skip

    say(repeated(run, 1, args.runs))


def inputs(args: Any, paths: dict[str, Any]) -> Inputs:
    """The network that is scored, at the size of the row."""
    cfg = Path(paths["our_scored"])
    return Inputs(str(cfg), str(cfg.with_suffix(".weights")), (args.img_size, args.img_size))


ROWS: dict[str, Callable[[Any, dict[str, Any]], None]] = {
    "loader": loader, "step": step, "epoch": epoch, "val": val, "detect": detect,
}  # fmt: skip

if __name__ == "__main__":
    main()
