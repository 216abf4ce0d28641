"""The targets by name, for a command line: nothing is loaded here."""

from __future__ import annotations

from typing import Literal, get_args

Target = Literal[
    "onnx",
    "openvino",
    "opencv",
    "ncnn",
    "mnn",
    "litert",
    "executorch",
    "espdl",
    "tensorrt",
    "rknn",
    "darknet",
]
TARGETS: tuple[Target, ...] = get_args(Target)
