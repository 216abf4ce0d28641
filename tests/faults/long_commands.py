"""Commands that take long and go on after a stop, on networks of three convolutions."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import compress
import export
import iterative_prune
import search
import sensitivity
import slim_prune
import train
import translate
from models import Darknet, convert
from tests.faults.shim import Ended, Fault, run
from tests.fuzz import corpus
from tests.support.training_project import write_project
from utils.annotations.__main__ import main as convert_annotations

Main = Callable[[list[str]], Any]
_MODEL = ["--cfg", "my.cfg", "--weights", "my.weights"]
_QUIET = ["--img-size", "32", "--device", "cpu", "--workers", "0", "--batch-size", "2"]
_TRAIN = ["--cfg", "my.cfg", "--data", "my.data", *_QUIET, "--noplots", "--name", "r"]
_STEPS = [
    *_MODEL, "--data", "my.data", *_QUIET, "--steps", "1", "--target", "0.25", "--output", "it",
    "--epochs-per-step", "1", "--train-flags=--mosaic 0 --warmup-epochs 0 --noplots",
]  # fmt: skip
_ONNX = [*_MODEL, "--format", "onnx", "--output", "out/net"]
_CURVES = [*_MODEL, "--data", "my.data", "--fast", "--img-size", "32", "--output", "out"]
_SMALLER = [
    *_MODEL, "--data", "my.data", *_QUIET, "--keep-params", "0.5", "--epochs", "3", "--output",
    "out",
]  # fmt: skip
_WIDTHS = [
    *_MODEL, "--data", "my.data", "--development", "0.5", "--device", "cpu", "--workers", "0",
    "--batch-size", "4", "--recalibrate", "3", "--target-params", "0.5", "--trials", "4",
    "--output", "out",
]  # fmt: skip
# What is said where all was done already: no fault, if all is there.
NOTHING_TO_DO = ("epochs are done", "exists already", "is done", "holds other files")


def convert_file(argv: list[str]) -> None:
    """`models.convert`, as the README has it."""
    convert(*argv)


@dataclass(frozen=True)
class Case:
    """A command, how it goes on once `begun` is there, and the files that it ends with."""

    main: Main
    argv: list[str]
    resume: list[str]
    begun: str
    ends_with: tuple[str, ...]
    over: tuple[str, ...] = ()  # flags with which it may replace what a killed one has left


CASES = {
    "train": Case(
        train.main, [*_TRAIN, "--epochs", "3"], ["--resume", "--name", "r"],
        "runs/train/r/last.pt", ("runs/train/r/last.pt", "runs/train/r/best.pt"),
        ("--exist-ok",),
    ),
    "iterative_prune": Case(
        iterative_prune.main, _STEPS, ["--resume", "it"],
        "it/state.json", ("it/best.weights", "it/best.cfg", "it/steps.csv"),
    ),
    "export": Case(export.main, _ONNX, [], "", ("out/net.onnx",), ("--force",)),
    "export-darknet": Case(
        export.main, [*_MODEL, "--format", "darknet", "--output", "out/net"], [], "",
        ("out/net.cfg", "out/net.weights"), ("--force",),
    ),
    "slim_prune": Case(
        slim_prune.main, [*_MODEL, "--project", "out", "--name", "cut", "--global-percent", "0.3"],
        [], "", ("out/cut/cut.cfg", "out/cut/cut.weights", "out/cut/cut.plan.json"), ("--force",),
    ),
    "translate": Case(
        translate.main, ["--weights", "theirs.pt", "--output", "net.cfg"], [], "",
        ("net.cfg", "net.weights", "net.names"), ("--force",),
    ),
    "convert": Case(convert_file, ["my.cfg", "my.weights"], [], "", ("converted.pt",)),
    "convert-data": Case(
        convert_annotations, ["coco", "coco", "set"], [], "",
        ("set/set.data", "set/set.names", "set/train.txt"),
    ),
    "sensitivity": Case(
        sensitivity.main, _CURVES, ["--resume", "out"], "out/state.json", ("out/sensitivity.json",)
    ),
    "compress": Case(
        compress.main, _SMALLER, ["--resume", "out"], "out/state.json", ("out/out.weights",)
    ),
    "search": Case(
        search.main, _WIDTHS, ["--resume", "out"], "out/state.json", ("out/widths.json",)
    ),
}  # fmt: skip
if importlib.util.find_spec("optuna") is None:
    del CASES["search"]


def write_start(folder: Path) -> None:
    """The data, the cfg and the weights that the cases name."""
    folder.mkdir(parents=True)
    write_project(folder)
    torch.manual_seed(0)
    Darknet(folder / "my.cfg").save_weights(folder / "my.weights")
    corpus.write_foreign(folder)
    (folder / "coco").mkdir()
    corpus.write_coco(folder / "coco")


def going_on(case: Case, folder: Path) -> Ended:
    """What a user would type after a stop: --resume where it has something to go on from."""
    begun = case.begun and (folder / case.begun).exists()
    return run(case.main, case.resume if begun else [*case.argv, *case.over], Fault(), folder)
