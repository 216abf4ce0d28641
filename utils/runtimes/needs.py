"""What a runtime needs on this machine: of OpenCV, that is a question of its version.

OpenCV 4 imports a cfg itself; OpenCV 5 dropped that and runs the same network by ONNX.
"""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path

from ..command.errors import UserError
from ..command.optional import INT8_NEEDS, NEEDS

_VERSION_FILE = "version.py"  # in the wheels of cv2: read, it costs nothing; loaded, .2 s
_BY_ONNX = ("onnx", "onnxscript")
_INT8 = "-int8"  # behind the name of a format: its file in 8 bits


def in_8_bits(kind: str) -> str:
    """The name of a format or runtime in 8 bits: onnx -> onnx-int8."""
    return kind + _INT8


def is_8_bits(runtime: str) -> bool:
    """Whether a runtime's name says 8 bits."""
    return runtime.endswith(_INT8)


def of_any_bits(runtime: str) -> str:
    """The name without its 8 bits: onnx-int8, onnx -> onnx."""
    return runtime.removesuffix(_INT8)


@cache
def opencv_version() -> str:
    """As cv2 says it, without loading it where its wheel has a file for that; "" without any."""
    spec = importlib.util.find_spec("cv2")
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder) / _VERSION_FILE
        found = (
            re.search(r'opencv_version = "([\d.]+)"', file.read_text()) if file.exists() else None
        )
        if found:
            return found[1]
    if spec is None:
        return ""
    import cv2  # a distribution's own build

    return str(cv2.__version__)


def opencv_reads_cfg() -> bool:
    """Whether this OpenCV has the importer of Darknet's files; without OpenCV, what 4 would say."""
    return int(opencv_version().partition(".")[0] or 4) < 5


def require_cfg_importer(what: str) -> None:
    """Raise UserError for an OpenCV that cannot read Darknet files; `what` asks for that."""
    if not opencv_reads_cfg():
        raise UserError(
            f"{what}: OpenCV {opencv_version()} cannot read Darknet files (5 dropped that): "
            "give it what export.py --format onnx makes, with --backend opencv, or install "
            '"opencv-python-headless>=4.8,<5"'
        )


def needs_of(runtime: str) -> tuple[str, ...]:
    """The modules that running a cfg and weights, or exporting them, needs here; maybe in int8."""
    if is_8_bits(runtime):
        return INT8_NEEDS[of_any_bits(runtime)]
    return _BY_ONNX if runtime == "opencv" and not opencv_reads_cfg() else NEEDS[runtime]
