"""A quantized network in esp-ppq's simulation of the chip, in the Python that has esp-ppq."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...command.errors import UserError
from ...network.darknet import Network
from ..other_python import environment, failed

_SCRIPT = Path(__file__).with_name("their_side.py")
_SAID = "said.txt"
_ERROR = re.compile(r"\[ERROR\]\[\w+\]\[[^\]]*\]:\s*(?:\x1b\[[\d;]*m)?\s*(.+)")
# ONNX Runtime, which the quantizer loads, tells its makers about each use unless told not to.
_QUIET = {"ORT_DISABLE_TELEMETRY": "1"}


class Simulated:
    """`model(x)`: images (B, 3, H, W) in 0..1 -> (B, N, 5 + nc), by the file that it has made.

    `folder` holds the job (see their_side.py); model.espdl is there once this exists. `network`
    decodes the heads. To be closed, best by `with`. Raises UserError where esp-ppq fails.
    """

    def __init__(self, python: str, folder: Path, network: Network) -> None:
        self._python, self._folder, self._network = python, folder, network
        # A script's folder is where Python looks first: ours has modules of common names.
        shutil.copyfile(_SCRIPT, folder / _SCRIPT.name)
        with (folder / _SAID).open("wb") as said:
            try:
                self._process = subprocess.Popen(
                    [python, _SCRIPT.name],
                    cwd=folder, env=environment(_QUIET), text=True,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
                )  # fmt: skip
            except OSError as error:
                raise UserError(f"{python}: cannot run esp-ppq: {error}") from None
        try:
            self._await()
            wrong = _ERROR.search(self._said())
            if wrong:  # its makers' own word for a file that the chip cannot compute
                raise UserError(f"esp-ppq: {wrong[1][:300]}")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Simulated:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def __call__(self, images: Tensor) -> Tensor:
        """Boxes (B, N, 5 + nc) float32 on the CPU."""
        np.save(self._folder / "images.npy", images.detach().to("cpu", torch.float32).numpy())
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        except OSError:  # it has ended: _await tells why
            pass
        self._await()
        with np.load(self._folder / "heads.npz", allow_pickle=False) as file:
            found = [torch.from_numpy(file[name]) for name in file.files]
        size = (images.shape[2], images.shape[3])
        heads = zip(self._network.heads, found, strict=True)
        return torch.cat([head.decode(values, size) for head, values in heads], 1)

    def _await(self) -> None:
        """Until it has answered."""
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise failed("espdl", self._python, self._said(), self._process.wait())

    def _said(self) -> str:
        return (self._folder / _SAID).read_text(encoding="utf-8", errors="replace")
