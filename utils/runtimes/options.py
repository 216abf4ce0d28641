"""Which runtimes there are, by what they read: the one list of them. Nothing is loaded here.

What each needs to be installed stands in `command/optional.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ..command.optional import INT8_NEEDS
from .needs import in_8_bits, opencv_reads_cfg

Runtime = Literal["torch", "opencv"]  # run a cfg with its weights
# run a file made of them
Format = Literal["onnx", "openvino", "ncnn", "mnn", "litert", "executorch"]
Pair = Literal["darknet", "opencv"]  # read a cfg with its weights, which export.py writes, too
# What a library makes that is not beside us (other_python.py); no command of ours opens it: a
# checkpoint of what a network came from, and a file for ESP-DL, which runs on chips alone.
Theirs = Literal["ultralytics", "espdl"]
Chip = Literal["esp32p4", "esp32s3"]  # their files differ: rounding, scales by channel or not
Backend = Literal[Runtime, Format]

# What opens an exported file, by its suffix; the first is what does so unasked.
_OPENED_BY: dict[str, tuple[Backend, ...]] = {
    ".onnx": ("onnx", "openvino", "opencv"),
    ".xml": ("openvino",),
    ".param": ("ncnn",),
    ".mnn": ("mnn",),
    ".tflite": ("litert",),
    ".pte": ("executorch",),
}
_SUFFIXES: dict[Format | Pair | Theirs, tuple[str, ...]] = {
    "darknet": (".cfg", ".weights"),
    "opencv": (".cfg", ".weights"),
    "onnx": (".onnx",),
    "openvino": (".xml", ".bin"),
    "mnn": (".mnn",),
    "litert": (".tflite",),
    "ultralytics": (".pt",),
    "espdl": (".espdl", ".espdl.json"),  # the last one is ours
    "executorch": (".pte",),
    # The last one is ours: ncnn's own files have no place for metadata.
    "ncnn": (".ncnn.param", ".ncnn.bin", ".ncnn.json"),
}

Pass = Callable[[], object]  # one forward pass of one image, ready to be timed

PAIRS: tuple[Pair, ...] = get_args(Pair)
THEIRS: tuple[Theirs, ...] = get_args(Theirs)
CHIPS: tuple[Chip, ...] = get_args(Chip)
FORMATS: tuple[Format, ...] = get_args(Format)
BACKENDS: tuple[Backend, ...] = get_args(Backend)
# What a network may be timed in: a backend, or a format's file in int8.
RUNTIMES: tuple[str, ...] = (*BACKENDS, *(in_8_bits(kind) for kind in INT8_NEEDS))


@dataclass(frozen=True)
class NmsOptions:
    """The suppression that a graph ends with: class by class, by IoU alone."""

    conf_thres: float = 0.25
    iou_thres: float = 0.45
    max_per_class: int = 300


def opened_by(weights: str | Path) -> tuple[Backend, ...]:
    """Which runtimes open an exported file; none for a cfg's weights."""
    return _OPENED_BY.get(Path(weights).suffix, ())


def backend_of(weights: str) -> Backend:
    """What runs a file, by its suffix; PyTorch where that says nothing."""
    return next(iter(opened_by(weights)), "torch")


def target_files(stem: Path, kind: Format | Pair | Theirs) -> tuple[Path, ...]:
    """The files that an export to STEM makes; what opens them takes the first."""
    suffixes = _SUFFIXES[kind if kind not in PAIRS or is_pair(kind) else "onnx"]
    return tuple(stem.with_name(stem.name + suffix) for suffix in suffixes)


def is_pair(kind: Format | Pair | Theirs) -> bool:
    """Whether an export is a cfg with its weights; for OpenCV 5 it is an ONNX file."""
    return kind == "darknet" or (kind == "opencv" and opencv_reads_cfg())
