"""A network run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...command.errors import UserError
from ...command.files import require_file
from ...command.optional import load
from .best import as_predictions
from .layouts import METADATA_KEY, fits, rows_of
from .metadata import stated_classes, stated_names
from .nms import DETECTIONS

_ERRORS_ONLY = 3


class OnnxNetwork:
    """`model(x)`: images (B, 3, H, W) in 0..1 -> (B, N, 5 + nc), as `Darknet` in eval mode gives.

    A file of another layout gives the same rows again. One made for one image at a time is called
    once per image. threads: None takes all cores. optimized: else the graph is computed as it is
    written, an int8 one in float between its roundings.
    Raises UserError for a file that ONNX Runtime cannot open, or that does not give boxes.
    """

    def __init__(
        self, path: str | Path, threads: int | None = None, optimized: bool = True
    ) -> None:
        runtime = load("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        if not optimized:
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        found = require_file(path, "the ONNX model")
        try:
            self._session = runtime.InferenceSession(
                str(found), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors share no base class of their own
            reason = str(error).splitlines()[0]
            raise UserError(f"{found}: ONNX Runtime cannot open it ({reason})") from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4:
            raise UserError(f"{found}: not a graph from images to boxes, as export.py writes")
        told = self._session.get_modelmeta().custom_metadata_map
        self._layout = told.get(METADATA_KEY, "rows")
        self.names = stated_names(told.get("names"))
        self._input = inputs[0].name
        self._shape = inputs[0].shape
        self._source = found
        self._classes = self._classes_of_best()

    def _classes_of_best(self) -> int:
        """How many classes a file has that ends with the best boxes; 0 for any other."""
        output = self._session.get_outputs()[0]
        metadata = self._session.get_modelmeta().custom_metadata_map
        if output.name != DETECTIONS or len(output.shape) != 3:
            return 0
        return stated_classes(metadata.get("classes"))

    def __call__(self, images: Tensor) -> Tensor:
        """Boxes (B, N, 5 + nc) float32 on the CPU. Raises UserError for another size of image."""
        blob = images.detach().to("cpu", torch.float32).contiguous().numpy()
        fixed = self._shape[1:]
        if any(isinstance(f, int) and f != n for f, n in zip(fixed, blob.shape[1:], strict=True)):
            raise UserError(
                f"{self._source}: is made for {fixed[2]}x{fixed[1]} pixels, not for "
                f"{blob.shape[3]}x{blob.shape[2]} (--img-size; export.py --dynamic takes any)"
            )
        parts = [blob] if not isinstance(self._shape[0], int) else np.split(blob, len(blob))
        found = [self._session.run(None, {self._input: part})[0] for part in parts]
        boxes = torch.from_numpy(np.concatenate(found))
        layout = "deepstream" if self._classes else self._layout  # which has rows of six as well
        classes = self._classes or len(self.names or ())
        if not fits(layout, boxes, classes):
            raise UserError(f"{self._source}: its boxes do not lie as it says that they do")
        if self._classes:
            return as_predictions(boxes, classes)
        return rows_of(layout, boxes, classes)
