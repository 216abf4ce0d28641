"""Which readers of Darknet's files take a network, asked of its layers."""

from __future__ import annotations

from collections.abc import Sequence

from .layers import Layer

ONNX_WAY = "export.py --format onnx makes a file that OpenCV, ONNX Runtime, OpenVINO and others run"


def require_darknet(layers: Sequence[Layer]) -> None:
    """Raise UserError, naming the layer and the way out, where no Darknet has a section."""
    for layer in layers:
        if layer.only_by_onnx:
            raise layer.error(f"{layer.only_by_onnx}; {ONNX_WAY}")


def require_opencv(layers: Sequence[Layer]) -> None:
    """Likewise where OpenCV's importer has none, or reads a section as something else."""
    require_darknet(layers)
    for layer in layers:
        if layer.not_in_opencv:
            raise layer.error(f"{layer.not_in_opencv}; {ONNX_WAY}")
