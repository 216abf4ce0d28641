"""A network as OpenVINO files, and run by OpenVINO on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..command.errors import UserError
from ..command.files import require_file
from ..command.optional import load
from .onnx.export import OUTPUT_NAME

RT_INFO = "darkslim"  # the section of an .xml file's rt_info that holds our metadata


def openvino_from_onnx(onnx_path: Path, metadata: Mapping[str, str]) -> Any:
    """An `openvino.Model` of an ONNX file, by OpenVINO's own reader, with our metadata."""
    model = load("openvino").Core().read_model(str(onnx_path))
    for key, value in metadata.items():
        model.set_rt_info(value, [RT_INFO, key])
    return model


def save_openvino(model: Any, path: Path, half: bool) -> None:
    """Write PATH.xml and PATH.bin; half stores the weights in float16."""
    load("openvino").save_model(model, str(path), compress_to_fp16=half)


class OpenVinoNetwork:
    """`model(x)`: images (B, 3, H, W) in 0..1 -> (B, N, 5 + nc), as `Darknet` in eval mode gives.

    `model` is an .xml or .onnx file. It computes in float32, unless the file says int8: OpenVINO
    would take bfloat16 on its own where the CPU has it. threads: None takes all cores.
    """

    def __init__(self, model: str | Path, threads: int | None = None) -> None:
        openvino = load("openvino")
        core = openvino.Core()
        self._source = require_file(model, "the OpenVINO model")
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            self._compiled = core.compile_model(str(self._source), "CPU", options)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{self._source}: OpenVINO cannot open it ({reason})") from None
        if not any(OUTPUT_NAME in port.get_names() for port in self._compiled.outputs):
            raise UserError(f"{self._source}: no graph with our rows of boxes (--layout, --nms)")
        shape = self._compiled.inputs[0].get_partial_shape()
        self._one_by_one = shape[0].is_static
        self._fixed = [d.get_length() if d.is_static else None for d in shape][1:]

    def __call__(self, images: Tensor) -> Tensor:
        """Boxes (B, N, 5 + nc) float32 on the CPU. Raises UserError for another size of image."""
        blob = images.detach().to("cpu", torch.float32).contiguous().numpy()
        if any(f is not None and f != n for f, n in zip(self._fixed, blob.shape[1:], strict=True)):
            raise UserError(
                f"{self._source}: is made for {self._fixed[2]}x{self._fixed[1]} pixels, not for "
                f"{blob.shape[3]}x{blob.shape[2]} (--img-size; export.py --dynamic takes any)"
            )
        parts = np.split(blob, len(blob)) if self._one_by_one else [blob]
        # Copies: the next call overwrites OpenVINO's own buffers.
        found = [np.array(self._compiled([part])[0], dtype=np.float32) for part in parts]
        return torch.from_numpy(np.concatenate(found))
