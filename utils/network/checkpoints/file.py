"""A `.pt` file: written so that a full disk is told as such, read so that it cannot grow."""

from __future__ import annotations

import io
import math
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError  # only the error that torch.load raises
from typing import Any

import torch
from torch import Tensor

from ...command.errors import UserError
from ...command.files import atomic_write
from .program import MOST_PROGRAM_BYTES, require_bounded

_OLD_PROGRAMS = 5  # magic number, protocol, machine, content, keys; the storages follow them

# What torch.load raises for an archive with damaged contents.
_DAMAGE = (
    RuntimeError, OSError, EOFError, ValueError, LookupError, AttributeError, TypeError,
    RecursionError, OverflowError, AssertionError, MemoryError, struct.error,
)  # fmt: skip


def save_checkpoint(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a dict of tensors, numbers and text, whole or not at all. Raises UserError."""
    with atomic_write(path) as temporary, _Noting(temporary.open("wb", buffering=0)) as file:
        try:
            torch.save(dict(content), file)
            file.flush()
        except RuntimeError:
            if file.failure is not None:  # torch's own words are of positions in its archive
                raise file.failure from None
            raise


def read_checkpoint(path: Path) -> Any:
    """What a file holds, on the CPU; code in it is never run. Raises UserError."""
    try:
        _require_bounded(path)
        with warnings.catch_warnings():
            # It is read or refused here; torch asks for a report of other protocols than its own.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise UserError(
            f"{path}: holds Python objects, not just tensors, and is not opened for safety "
            "(an ultralytics checkpoint? those need translating first)"
        ) from None
    except (*_DAMAGE, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{path}: not a checkpoint, or a damaged one ({reason})") from None


def why_no_weights(value: object) -> str:
    """Why a value of a checkpoint cannot be a layer's numbers; "" where it can.

    torch saves tensors without values, of other layouts, and views that repeat a few numbers
    without end: the first operation on such a one would fail, or take all memory.
    """
    if not isinstance(value, Tensor):
        return "no tensor"
    if value.layout != torch.strided or value.is_nested or value.is_quantized:
        return "a sparse, nested or quantized tensor"
    if value.device.type != "cpu":
        return "a tensor without values"
    if value.is_complex():
        return "a tensor of complex numbers"
    if math.prod(value.shape) * value.element_size() > value.untyped_storage().nbytes():
        return "a tensor larger than what is stored of it"
    return ""


def _require_bounded(path: Path) -> None:
    """Raise ValueError for an archive that holds more than it is: torch packs nothing.

    Also where its program would build more than is read here, in the form before PyTorch 1.6 too.
    """
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            for _ in range(_OLD_PROGRAMS):
                require_bounded(file)
        return
    with zipfile.ZipFile(path) as archive:
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise ValueError("a packed archive, which torch does not write")
        for part in archive.infolist():
            if part.filename.endswith("data.pkl"):
                if part.file_size > MOST_PROGRAM_BYTES:
                    raise ValueError("a program of more than is read here")
                require_bounded(archive.read(part))


class _Noting(io.BufferedWriter):
    """Keeps the first error of the system, which torch replaces by one of its own."""

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failure = self.failure or error
            raise
