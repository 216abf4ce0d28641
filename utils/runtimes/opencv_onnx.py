"""A network as an ONNX file, run by OpenCV: the way of OpenCV 5, and open to OpenCV 4 as well.

OpenCV 5 has two engines. The classic one is as fast as the new one or faster on every network that
was tried (up to 1.9 times), but takes neither a file for any size nor one in float16. So it comes
first, and the new one is for what it refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..command.errors import UserError
from ..command.files import require_file
from ..command.optional import load
from ..network.darknet import Network
from .onnx.export import OUTPUT_NAME
from .onnx.metadata import stated_names
from .opencv import reason


class OpenCVOnnx:
    """`model(x)`: images (B, 3, H, W) in 0..1 -> (B, N, 5 + nc), as `Darknet` in eval mode gives.

    A file of raw heads needs the `network`, which decodes them. Outputs are asked for by name:
    without one the engines give different heads. Raises UserError for a file that is no such graph,
    or that OpenCV does not take.
    """

    def __init__(self, path: str | Path, network: Network | None = None) -> None:
        self._source = require_file(path, "the ONNX model")
        content = self._source.read_bytes()
        model = _parsed(content, self._source)
        self._outputs = [output.name for output in model.graph.output]
        raw = all(name.startswith("head") for name in self._outputs)
        if len(model.graph.input) != 1 or not ((raw and network) or self._outputs == [OUTPUT_NAME]):
            raise UserError(f"{self._source}: no graph from images to boxes, as export.py writes")
        self._network = network if raw else None
        sizes = model.graph.input[0].type.tensor_type.shape.dim
        self._fixed = [size.dim_value or None for size in sizes]  # a name stands for any size
        told = {entry.key: entry.value for entry in model.metadata_props}
        self.names = stated_names(told.get("names"))
        self._bytes = np.frombuffer(content, np.uint8)
        self._engines = _engines()
        self._net = self._import()

    def __call__(self, images: Tensor) -> Tensor:
        """Boxes (B, N, 5 + nc) float32 on the CPU. Raises UserError for another size of image."""
        if self._network is None:
            return self._run(images)[0]
        size = (images.shape[2], images.shape[3])
        heads = zip(self._network.heads, self._run(images), strict=True)
        return torch.cat([head.decode(values, size) for head, values in heads], 1)

    def head_outputs(self, images: Tensor) -> list[Tensor]:
        """The raw heads, in cfg order, of a file that ends there: (B, C, H, W) each."""
        return self._run(images)

    def _run(self, images: Tensor) -> list[Tensor]:
        blob = images.detach().to("cpu", torch.float32).contiguous().numpy()
        # OpenCV would take another size and give numbers for it.
        if any(
            f is not None and f != n for f, n in zip(self._fixed[1:], blob.shape[1:], strict=True)
        ):
            raise UserError(
                f"{self._source}: is made for {self._fixed[3]}x{self._fixed[2]} pixels, not for "
                f"{blob.shape[3]}x{blob.shape[2]} (--img-size; export.py --dynamic takes any)"
            )
        parts = [blob] if self._fixed[0] is None else np.split(blob, len(blob))
        found = [self._forward(np.ascontiguousarray(part)) for part in parts]
        return [torch.from_numpy(np.concatenate(each)) for each in zip(*found, strict=True)]

    def _forward(self, blob: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """One pass; where the engine cannot, the next one has its turn, from then on."""
        while True:
            try:
                with _silent():
                    self._net.setInput(blob)
                    outputs: Any = self._net.forward(self._outputs)
            except cv2.error as error:
                if not self._engines:
                    told = reason(error)
                    raise UserError(f"{self._source}: OpenCV cannot run it ({told})") from None
                self._net = self._import()
            else:
                # Copies: OpenCV may hand out its own buffers, which the next forward overwrites.
                return [np.array(out, dtype=np.float32) for out in outputs]

    def _import(self) -> cv2.dnn.Net:
        """By the first engine left that takes the file."""
        while True:
            engine = self._engines.pop(0)
            try:
                with _silent():
                    return cv2.dnn.readNetFromONNX(self._bytes, *engine)
            except cv2.error as error:
                if not self._engines:
                    told = reason(error)
                    raise UserError(f"{self._source}: OpenCV cannot import it ({told})") from None


def _engines() -> list[tuple[int, ...]]:
    """What to say after the file, in the order of trial; OpenCV 4 has but one engine."""
    named = [getattr(cv2.dnn, f"ENGINE_{name}", None) for name in ("CLASSIC", "NEW")]
    return [(engine,) for engine in named if engine is not None] or [()]


def _parsed(content: bytes, source: Path) -> Any:
    """The `onnx.ModelProto`."""
    onnx = load("onnx")
    try:
        return onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own, of which onnx says nothing
        raise UserError(f"{source}: is no ONNX file ({str(error).splitlines()[0]})") from None


@contextmanager
def _silent() -> Iterator[None]:
    """Without OpenCV's lines about a layer that an engine does not take: the next one may."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)
