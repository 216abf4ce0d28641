"""A network as an MNN file, by MNN's own converter and quantizer, and run by MNN on the CPU.

The wheel's commands (`mnnconvert`, `mnnquant`) install a logging client with whichever pip comes
first, and send what was converted to its makers. The functions under them do not: those are called
here, in a process of their own, since they end the process when something is wrong.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ..command.errors import UserError
from ..command.files import require_file
from ..command.muted import muted
from ..command.optional import load
from .onnx.export import INPUT_NAME, OUTPUT_NAME
from .onnx.metadata import stated_entries, stated_names
from .real_images import Images

_SECONDS = 3600  # for a step of theirs; seconds are usual
# Both functions take their words as a list; told through a pipe, it may be of any length.
_CALL = "import json, sys, _tools; words = json.load(sys.stdin); getattr(_tools, words[0])(words)"
_FORMAT_OF_CHANNELS = {1: "GRAY", 3: "RGB"}


def mnn_from_onnx(
    onnx_path: Path, target: Path, metadata: Mapping[str, str], half: bool = False
) -> None:
    """Write TARGET; half stores the kernels in float16. Raises UserError."""
    halved = ["--fp16"] if half else []
    _convert("ONNX", onnx_path, target, metadata, halved)


def quantize_mnn(source: Path, target: Path, images: Images, metadata: Mapping[str, str]) -> None:
    """The int8 version of an .mnn file, calibrated on images of the network's own size.

    Its range of a tensor is a moving average of extremes: the other two rules are no use here, KL
    cuts off what the decoding needs, ADMM ends in a crash. Raises UserError.
    """
    height, width = images[0].shape[2:]
    channels = images[0].shape[1]
    if channels not in _FORMAT_OF_CHANNELS:
        raise UserError(f"MNN calibrates on images of 1 or 3 channels; these have {channels}")
    with tempfile.TemporaryDirectory() as name:
        folder, plain = Path(name), Path(name) / "int8.mnn"
        (folder / "images").mkdir()
        for number, image in enumerate(images):
            pixels = np.rint(image[0].transpose(1, 2, 0) * 255).astype(np.uint8)
            # imwrite wants BGR; these are the pixels that the network gets, without loss.
            cv2.imwrite(str(folder / "images" / f"{number}.png"), pixels[..., ::-1])
        config = {
            "format": _FORMAT_OF_CHANNELS[channels],
            "mean": [0.0] * channels,
            "normal": [1 / 255] * channels,
            "width": width,
            "height": height,
            "path": f"{folder / 'images'}/",
            "used_sample_num": len(images),
            "feature_quantize_method": "EMA",
            "weight_quantize_method": "MAX_ABS",
            "batch_size": 1,
        }
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        _tool("mnnquant", [source, plain, folder / "config.json"], plain)
        # Quantizing forgets the metadata; a file of MNN's own is converted as it stands.
        _convert("MNN", plain, target, metadata, ["--optimizeLevel", "0"])


def _convert(
    kind: str, source: Path, target: Path, metadata: Mapping[str, str], more: Sequence[str]
) -> None:
    told = json.dumps(dict(metadata))
    words: list[str | Path] = [
        "-f",
        kind,
        "--modelFile",
        source,
        "--MNNModel",
        target,
        "--bizCode",
        told,
        *more,
    ]
    _tool("mnnconvert", words, target)


def _tool(name: str, words: Sequence[str | Path], made: Path) -> None:
    """Raises UserError where `made` is not there afterwards: no exit code tells it."""
    text = json.dumps([name, *map(str, words)])
    command = [sys.executable, "-c", _CALL]
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode or not made.is_file() or not made.stat().st_size:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise UserError(f"{name} could not make it ({lines[-1] if lines else 'no reason'})")


class MnnNetwork:
    """`model(x)`: images (B, 3, H, W) in 0..1 -> (B, N, 5 + nc), as `Darknet` in eval mode gives.

    It computes in float32, unless the file is int8. Raises UserError for a file that MNN cannot
    open, or that does not give boxes.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        self._source = require_file(path, "the MNN model")
        with muted():  # it tells what the processor knows
            self._mnn = load("MNN")
            how = {"backend": "CPU", "numThread": threads or torch.get_num_threads(),
                   "precision": "high"}  # fmt: skip
            self._how = self._mnn.nn.create_runtime_manager((how,))
            try:
                info = self._opened([], []).get_info()
                self._net = self._opened([INPUT_NAME], [OUTPUT_NAME])
            except (SystemError, RuntimeError, ValueError):
                raise UserError(f"{self._source}: MNN cannot open it") from None
        if info["inputNames"] != [INPUT_NAME] or info["outputNames"] != [OUTPUT_NAME]:
            raise UserError(f"{self._source}: no graph from images to boxes, as export.py writes")
        self._shape = list(info["inputs"][0].shape)
        self.names = stated_names(stated_entries(info["bizCode"]).get("names"))

    def _opened(self, inputs: list[str], outputs: list[str]) -> Any:
        open_file = self._mnn.nn.load_module_from_file
        return open_file(str(self._source), inputs, outputs, runtime_manager=self._how)

    def __call__(self, images: Tensor) -> Tensor:
        """Boxes (B, N, 5 + nc) float32 on the CPU. Raises UserError for another size of image."""
        blob = images.detach().to("cpu", torch.float32).contiguous().numpy()
        if list(blob.shape[1:]) != self._shape[1:]:
            raise UserError(
                f"{self._source}: is made for {self._shape[3]}x{self._shape[2]} pixels, not for "
                f"{blob.shape[3]}x{blob.shape[2]} (--img-size)"
            )
        rows = []
        for part in np.split(blob, len(blob)):
            given = self._mnn.expr.const(part, part.shape, self._mnn.expr.NCHW)
            (found,) = self._net.forward([given])
            rows.append(np.array(found.read(), dtype=np.float32))
        return torch.from_numpy(np.concatenate(rows))
