"""Each command that writes, while another is at work on its output: one line, nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import compare
import compress
import detect
import export
import iterative_prune
import latency_table
import mask_prune
import models
import report
import sensitivity
import sparsity
import translate
import val
from tests.faults.other import Other
from tests.faults.shim import state
from tests.fuzz import corpus
from utils.annotations.__main__ import main as convert_annotations
from utils.command.errors import UserError

_MODEL = ["--cfg", "my.cfg", "--weights", "my.weights"]
_DATA = ["--data", "my.data"]
_GOAL = ["--device", "cpu", "--epochs", "2", "--keep-params", "0.5"]

SECONDS: dict[str, tuple[Callable[[list[str]], Any], list[str], str]] = {
    "export": (export.main, [*_MODEL, "--format", "darknet", "--output", "o"], "o.cfg"),
    "export-onnx": (export.main, [*_MODEL, "--format", "onnx", "--output", "o"], "o.onnx"),
    "translate": (translate.main, [*_MODEL, "--output", "o.cfg"], "o.cfg"),
    "val": (val.main, [*_MODEL, *_DATA, "--save-json", "o.json"], "o.json"),
    "val-plots": (val.main, [*_MODEL, *_DATA, "--plots", "o"], "o"),
    "detect": (detect.main, [*_MODEL, "--source", "images", "--output", "o"], "o"),
    "compare": (compare.main, ["--models", "my.cfg,my.weights", "--output", "o"], "o"),
    "report": (report.main, ["--models", *["my.cfg,my.weights"] * 2, "--output", "o"], "o"),
    "latency_table": (latency_table.main, [*_MODEL, "--output", "o.json"], "o.json"),
    "sparsity": (sparsity.main, [*_MODEL, "--output", "o.png"], "o.png"),
    "convert": (lambda argv: models.convert(*argv), ["my.cfg", "my.weights"], "converted.pt"),
    "mask": (
        mask_prune.main,
        [*_MODEL, "--amount", "0.3", "--method", "l1_unstructured"],
        "mask_l1_unstructured_0.3_my.pt",
    ),
    "iterative": (
        iterative_prune.main,
        [*_MODEL, *_DATA, "--steps", "1", "--target", "0.25", "--output", "o"],
        "o",
    ),
    "sensitivity": (sensitivity.main, [*_MODEL, *_DATA, "--fast", "--output", "o"], "o"),
    "compress": (compress.main, [*_MODEL, *_DATA, *_GOAL, "--output", "o"], "o"),
    "coco": (convert_annotations, ["coco", "coco", "o"], "o"),
    "to-coco": (convert_annotations, ["to-coco", "my.data", "o.json"], "o.json"),
}


@pytest.fixture
def here(project: Path) -> Path:
    models.Darknet("my.cfg").save_weights("my.weights")
    Path("coco").mkdir()
    corpus.write_coco(Path("coco"))
    return project


@pytest.mark.parametrize("name", SECONDS)
def test_the_second_says_so_and_writes_nothing(
    name: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its work begins: a lock is looked at, no network is built."""
    main, argv, output = SECONDS[name]
    before = state(here)
    if name not in ("convert", "coco", "to-coco"):
        built = pytest.fail
        monkeypatch.setattr(models.Darknet, "__init__", lambda *_, **__: built("worked already"))
    with Other(output), pytest.raises(UserError, match="another command is at work on it"):
        main(argv)
    assert state(here) == before
