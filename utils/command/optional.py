"""Packages that only some commands and runtimes need; a command says so where one is missing."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .errors import UserError

# Module -> the package that brings it, as the extras of pyproject.toml list them.
_PACKAGE_OF_MODULE = {
    "onnx": "onnx",
    "onnxscript": "onnxscript",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "nncf": "nncf",
    "ncnn": "ncnn",
    "pnnx": "pnnx",
    "MNN": "MNN",
    "litert_torch": "litert-torch",
    "ai_edge_litert": "ai-edge-litert",
    "ai_edge_quantizer": "ai-edge-quantizer",
    "executorch": "executorch",
    "scipy": "scipy",
    "yaml": "pyyaml",
    "optuna": "optuna",
    "sqlalchemy": "sqlalchemy",
}

# What runs a model, and what makes its files from ours.
NEEDS: dict[str, tuple[str, ...]] = {
    "torch": (),
    "darknet": (),
    # What makes these may lie in another environment: runtimes/other_python.py.
    "ultralytics": (),
    "espdl": ("onnx", "onnxscript"),
    "opencv": (),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
    "ncnn": ("onnx", "onnxscript", "ncnn", "pnnx"),
    "mnn": ("onnx", "onnxscript", "MNN"),
    # The quantizer is for float16 as well; litert-torch brings it, but not scipy, which it needs.
    "litert": ("litert_torch", "ai_edge_litert", "ai_edge_quantizer", "scipy"),
    "executorch": ("executorch",),
}

INT8_NEEDS: dict[str, tuple[str, ...]] = {
    "onnx": NEEDS["onnx"],
    "openvino": (*NEEDS["openvino"], "nncf"),
    "mnn": NEEDS["mnn"],
    "litert": NEEDS["litert"],
    "executorch": NEEDS["executorch"],
}


def missing(modules: tuple[str, ...]) -> list[str]:
    """Packages to install for these modules."""
    return [_PACKAGE_OF_MODULE[m] for m in modules if importlib.util.find_spec(m) is None]


def require(modules: tuple[str, ...], what: str) -> None:
    """Raise UserError when one of the modules is not installed; `what` needs them."""
    absent = missing(modules)
    if absent:
        of_runtimes = any(module in needed for needed in NEEDS.values() for module in modules)
        raise UserError(
            f"{what} needs {', '.join(absent)}, not installed here: pip install {' '.join(absent)}"
            f"{' (all runtimes: make -B setup RUNTIMES=1)' if of_runtimes else ''}"
        )


def load(module: str) -> Any:
    """The module, imported; its types are unknown to us. Raises UserError when it is missing.

    ONNX Runtime, which others load too, notes the machine in the user's home and tells its makers
    of each use unless told not to (findings/onnxruntime_import_notes_the_machine.sh).
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    require((module.partition(".")[0],), module)
    return importlib.import_module(module)


@contextmanager
def quiet() -> Iterator[None]:
    """Without what these libraries tell about their own steps, and their warnings to themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
