"""A network as ncnn files (by pnnx, ncnn's own converter from ONNX), and run by ncnn.

ncnn has no place for the decoding's index arithmetic, so its files end at the heads' raw input,
and the boxes are decoded here, as an application does it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..command.errors import UserError
from ..command.files import require_file
from ..command.optional import load
from ..network.darknet import Network

_SECONDS = 600  # for the converter; it takes a few
PARAM_SUFFIX, BIN_SUFFIX = ".param", ".bin"


def ncnn_from_onnx(
    onnx_path: Path, target: Path, img_size: tuple[int, int], channels: int, half: bool
) -> None:
    """Write TARGET.param and TARGET.bin from a graph with raw heads. Raises UserError."""
    program = load("pnnx").EXEC_PATH
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copyfile(onnx_path, folder / "model.onnx")
        shape = ",".join(map(str, (1, channels, *img_size)))
        command = [program, "model.onnx", f"inputshape=[{shape}]", f"fp16={int(half)}"]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        made = [folder / f"model.ncnn{suffix}" for suffix in (PARAM_SUFFIX, BIN_SUFFIX)]
        if done.returncode or not all(file.is_file() for file in made):
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise UserError(f"pnnx could not convert it ({lines[-1] if lines else 'no reason'})")
        # ncnn's reader knows no infinity; nothing that a maximum compares lies below this.
        text = made[0].read_text(encoding="utf-8")
        finite = re.sub(r"=-inf\b", "=-1e38", text)
        target.with_suffix(PARAM_SUFFIX).write_text(finite, encoding="utf-8")
        shutil.copyfile(made[1], target.with_suffix(BIN_SUFFIX))


class NcnnNetwork:
    """`model(x)`: images (B, 3, H, W) in 0..1 -> (B, N, 5 + nc), as `Darknet` in eval mode gives.

    `param` names the .param file, with the .bin beside it; `network` decodes the heads.
    """

    def __init__(self, param: str | Path, network: Network, threads: int | None = None) -> None:
        self._ncnn = load("ncnn")
        self._network = network
        path = require_file(param, "the ncnn model")
        self._net = self._ncnn.Net()
        self._net.opt.use_vulkan_compute = False
        self._net.opt.num_threads = threads or torch.get_num_threads()
        # float32 throughout, so that results can be compared; float16 files are widened.
        self._net.opt.use_fp16_arithmetic = False
        self._net.opt.use_fp16_storage = False
        self._net.opt.use_fp16_packed = False
        self._net.opt.use_bf16_storage = False
        binary = require_file(path.with_suffix(BIN_SUFFIX), "the ncnn weights")
        if self._net.load_param(str(path)) or self._net.load_model(str(binary)):
            raise UserError(f"{path}: ncnn cannot open it")
        self._source = path

    def head_outputs(self, image: Tensor) -> list[Tensor]:
        """Raw heads (1, C, H, W) of one image (3, H, W)."""
        extractor = self._net.create_extractor()
        pixels = np.ascontiguousarray(image.detach().to("cpu", torch.float32).numpy())
        extractor.input("in0", self._ncnn.Mat(pixels))
        raw = []
        for k in range(len(self._network.heads)):
            code, out = extractor.extract(f"out{k}")
            if code:
                raise UserError(f"{self._source}: ncnn cannot run it (code {code})")
            raw.append(torch.from_numpy(np.array(out, dtype=np.float32))[None])
        return raw

    def __call__(self, images: Tensor) -> Tensor:
        """Boxes (B, N, 5 + nc) float32 on the CPU."""
        size = (images.shape[2], images.shape[3])
        rows = []
        for image in images:
            raw = self.head_outputs(image)
            heads = zip(self._network.heads, raw, strict=True)
            rows.append(torch.cat([head.decode(values, size) for head, values in heads], 1))
        return torch.cat(rows)
