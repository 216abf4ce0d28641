"""Which runtimes there are, by what they read: the one list of them. Nothing is loaded here.

What each needs to be installed stands in `command/optional.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

Runtime = Literal["torch", "opencv"]  # run a cfg with its weights
Format = Literal["onnx", "openvino", "ncnn"]  # run a file that export.py makes of them
Pair = Literal["darknet", "opencv"]  # read a cfg with its weights, which export.py writes, too
Backend = Literal[Runtime, Format]

_OF_SUFFIX: dict[str, Backend] = {".onnx": "onnx", ".xml": "openvino", ".param": "ncnn"}

Pass = Callable[[], object]  # one forward pass of one image, ready to be timed

PAIRS: tuple[Pair, ...] = get_args(Pair)
FORMATS: tuple[Format, ...] = get_args(Format)
BACKENDS: tuple[Backend, ...] = get_args(Backend)


def backend_of(weights: str) -> Backend:
    """What runs a file, by its suffix; PyTorch where that says nothing."""
    return next((own for suffix, own in _OF_SUFFIX.items() if weights.endswith(suffix)), "torch")
