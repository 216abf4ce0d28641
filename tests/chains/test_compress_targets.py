"""compress.py and what is to run the result: the widths that it likes, its files in 8 bits."""

from __future__ import annotations

from pathlib import Path

import pytest

from utils.chains.compress import decisions
from utils.chains.compress.decisions import Order
from utils.chains.compress.ending import _files, _next, exported
from utils.chains.compress.flags import read_flags
from utils.chains.compress.options import CompressOptions, Goals
from utils.command.errors import UserError
from utils.detection.options import Inputs
from utils.runtimes.needs import needs_of
from utils.runtimes.options import RUNTIMES


def asked(*words: str) -> CompressOptions:
    run = read_flags(None, ["--weights", "my.pt", "--data", "my.data", *words])
    assert run.options is not None
    return run.options


def cut(options: CompressOptions) -> list[str]:
    return decisions.cut_words((), Order("taylor"), 0, options.goals, options.target)


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (("--keep-params", "0.5"), None),
        (("--keep-params", "0.5", "--for", "rknn"), "rknn"),
        (("--latency-ms", "9", "--runtime", "litert-int8"), "litert"),
        (("--latency-ms", "9", "--runtime", "onnx", "--for", "ncnn"), "ncnn"),
        (("--latency-ms", "9"), None),  # PyTorch's kernels like any count
    ],
)
def test_what_runs_the_result_says_the_widths(words: tuple[str, ...], target: str | None) -> None:
    options = asked(*words)
    assert options.target == target
    assert ("--for" in cut(options)) == (target is not None)
    if target:
        assert cut(options)[cut(options).index("--for") + 1] == target
    rounded = target is None and options.goals.latency_ms is not None
    assert ("--round-to" in cut(options)) == rounded


def test_a_file_in_8_bits_stands_beside_the_one_in_float() -> None:
    options = asked("--keep-params", "0.5", "--export", "onnx", "onnx-int8", "opencv")
    assert exported(options)[0] == "darknet" and "onnx-int8" in exported(options)
    names = [file.name for kind in exported(options) for file in _files(Path("runs/my"), kind)]
    assert {"my.cfg", "my.weights", "my.onnx", "my-int8.onnx"} <= set(names)
    assert len(set(names)) == len(names)
    assert options.needs == ("onnx", "onnx-int8", "opencv")


def test_the_next_command_makes_the_file_that_was_timed() -> None:
    pair = Inputs("runs/my/my.cfg", "runs/my/my.weights")
    said = _next(asked("--latency-ms", "9", "--runtime", "openvino-int8"), pair)
    assert "--format openvino --int8 --data my.data --output runs/my/my-int8" in said
    said = _next(asked("--keep-params", "0.5"), pair)
    assert "--format onnx --output runs/my/my\n" in f"{said}\n" and "--int8" not in said


def test_runtimes_in_8_bits() -> None:
    assert {"onnx", "onnx-int8", "litert-int8"} <= set(RUNTIMES)
    assert "ncnn-int8" not in RUNTIMES and "torch-int8" not in RUNTIMES
    assert "nncf" in needs_of("openvino-int8") and "nncf" not in needs_of("openvino")
    with pytest.raises(UserError, match="--runtime"):
        Goals(latency_ms=9, runtime="ncnn-int8")
