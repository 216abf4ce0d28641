"""Reading a PyTorch file that holds pickled objects, without running anything of it.

A pickle is a program. This reader knows a few functions that build tensors and containers; any
other name becomes an inert class (stubs.py). Before the program is run its opcodes are checked
against a list, and names that no model needs are refused outright.
"""

from __future__ import annotations

import io
import pickle  # the machine; the names it may use are ours
import struct
import sys
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...command.errors import UserError
from ...command.files import require_file
from ...network.checkpoints.program import MOST_PROGRAM_BYTES, require_bounded
from .stubs import Stub, stub_class

_MOST_DIMENSIONS = 8

_STORAGES = {
    "FloatStorage": (torch.float32, "<f4"),
    "DoubleStorage": (torch.float64, "<f8"),
    "HalfStorage": (torch.float16, "<f2"),
    "BFloat16Storage": (torch.bfloat16, "<i2"),
    "LongStorage": (torch.int64, "<i8"),
    "IntStorage": (torch.int32, "<i4"),
    "ShortStorage": (torch.int16, "<i2"),
    "CharStorage": (torch.int8, "<i1"),
    "ByteStorage": (torch.uint8, "<u1"),
    "BoolStorage": (torch.bool, "<u1"),
}
_DTYPES = (
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
)  # fmt: skip

# Names of the standard library that training frameworks leave in checkpoints; they become stubs.
_HARMLESS = {
    "builtins": {"getattr", "dict", "list", "tuple", "object", "int", "float", "str", "bool"}
    | {"bytes", "bytearray", "complex", "frozenset", "range"},
    "collections": {"defaultdict", "Counter", "deque"},
    "pathlib": {"Path", "PurePath", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"},
    "pathlib._local": {"Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"},
    "argparse": {"Namespace"},
    "types": {"SimpleNamespace"},
    "datetime": {"datetime", "date", "time", "timedelta", "timezone"},
    "copyreg": {"_reconstructor"},
    "_codecs": {"encode"},
    "uuid": {"UUID"},
}
_OF_TORCH = ("torch.nn.", "torch.optim.", "torch.amp.", "torch.cuda.amp.")

# Opcodes that no checkpoint of PyTorch's holds.
_REFUSED_OPCODES = {"INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"}

# What damaged or hostile bytes raise on the way through zip, pickle and numpy.
_DAMAGE = (
    zipfile.BadZipFile, pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError,
    AttributeError, NotImplementedError, OSError, RecursionError, OverflowError, MemoryError,
    ImportError, RuntimeError, struct.error,
)  # fmt: skip


def load_stubs(path: str | Path) -> Any:
    """What the file holds: containers, tensors, and stubs of everything else.

    Raises UserError for what is no such file, is damaged, or names code to run.
    """
    found = require_file(path, "the checkpoint")
    try:
        with zipfile.ZipFile(found) as archive:
            return _Archive(archive, found).load()
    except zipfile.BadZipFile:
        raise UserError(f"{found}: {_not_a_zip(found)}") from None
    except UserError:
        raise
    except _DAMAGE as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise UserError(f"{found}: a damaged checkpoint ({reason[:120]})") from None


def _not_a_zip(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"PK\x03\x04"):
        return "the end of the file is missing: a download cut short?"
    if start.startswith(b"\x80"):
        return "a checkpoint of PyTorch before 1.6; save it again with a newer one"
    if start.startswith(b"version https://git-lfs"):
        return "a git LFS pointer (fetch the real file with 'git lfs pull')"
    return "not a PyTorch checkpoint"


class _Archive:
    """The zip of a checkpoint: one pickle and the storages that it names."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._zip = archive
        self._path = path
        self._entries = {info.filename: info for info in archive.infolist()}
        self._storages: dict[str, Tensor] = {}
        pickles = [name for name in self._entries if name.endswith("data.pkl")]
        if len(pickles) != 1:
            raise UserError(f"{path}: a zip archive, but not a PyTorch checkpoint")
        self._prefix = pickles[0][: -len("data.pkl")]

    def load(self) -> Any:
        order = f"{self._prefix}byteorder"
        if order in self._entries and self._read(order, 16) != b"little":
            raise UserError(f"{self._path}: was written on a big-endian machine")
        program = self._read(f"{self._prefix}data.pkl", MOST_PROGRAM_BYTES)
        require_bounded(program, _REFUSED_OPCODES)
        return _Reader(program, self._storage, self._path).load()

    def _read(self, name: str, most: int) -> bytes:
        """An entry's bytes; PyTorch stores them uncompressed, so none is larger than the file."""
        info = self._entries.get(name)
        if info is None:
            raise UserError(f"{self._path}: a damaged checkpoint ({name} is missing)")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > most:
            raise UserError(f"{self._path}: {name} is compressed or too large for a checkpoint")
        return self._zip.read(info)

    def _storage(self, saved: Any) -> Tensor:
        """The flat tensor that a persistent id ('storage', type, key, location, count) names."""
        tag, kind, key, _, count = saved
        if tag != "storage" or not isinstance(kind, _StorageType) or not isinstance(key, str):
            raise pickle.UnpicklingError("a reference that is no storage")
        if key not in self._storages:
            data = self._read(f"{self._prefix}data/{key}", self._path.stat().st_size)
            dtype, format_ = _STORAGES[kind.name]
            numbers = np.frombuffer(bytearray(data), format_) if data else np.zeros(0, format_)
            if len(numbers) != count:
                raise pickle.UnpicklingError(f"storage {key} has {len(numbers)} of {count} numbers")
            flat = torch.from_numpy(numbers)
            same = dtype in (torch.bfloat16, torch.bool)
            self._storages[key] = flat.view(dtype) if same else flat
        return self._storages[key]


class _StorageType:
    """Stands for torch.FloatStorage and its like."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class _Reader(pickle.Unpickler):
    """An unpickler whose every name is looked up here, and nowhere else."""

    def __init__(self, program: bytes, storage: Callable[[Any], Tensor], path: Path) -> None:
        super().__init__(io.BytesIO(program), encoding="utf-8")
        self._storage = storage
        self._path = path
        self._stubs: dict[tuple[str, str], type[Stub]] = {}

    def persistent_load(self, saved: Any) -> Tensor:
        """A storage."""
        return self._storage(saved)

    def find_class(self, module: str, name: str) -> Any:
        """One of ours, or a stub. Raises UserError for a name that no model needs."""
        # Older pickles use the names of Python 2.
        module, name = NAME_MAPPING.get((module, name), (module, name))
        module = IMPORT_MAPPING.get(module, module)
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _StorageType(name)
        known = _builders().get((module, name))
        if known is not None:
            return known
        if _suspicious(module, name):
            raise UserError(
                f"{self._path}: refused: it asks for {module}.{name}, which no model needs; "
                "nothing of it was run"
            )
        return self._stubs.setdefault((module, name), stub_class(module, name))


def _suspicious(module: str, name: str) -> bool:
    """Whether a name belongs to Python or PyTorch, but not to what models are made of."""
    if name in _HARMLESS.get(module, ()):
        return False
    root = module.partition(".")[0]
    if root == "torch":
        inner = f"{module}.{name}"
        torch_ok = inner.startswith(_OF_TORCH) or inner in ("torch.device", "torch._C._nn.gelu")
        return not torch_ok
    return root in sys.stdlib_module_names and root != "__main__"


def _builders() -> dict[tuple[str, str], Any]:
    """The functions that a file may call, made anew: a pickle can set attributes on them."""

    def tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
        return _tensor(storage, offset, size, stride)

    def parameter(data: Any, *_: Any) -> Tensor:
        if not isinstance(data, Tensor):
            raise pickle.UnpicklingError("a parameter that is no tensor")
        return data

    def reconstructed(kind: Any, *_: Any) -> Stub:
        if not (isinstance(kind, type) and issubclass(kind, Stub)):
            raise pickle.UnpicklingError("an object of a class that is none")
        return kind()

    return {
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch._utils", "_rebuild_parameter"): parameter,
        ("torch._utils", "_rebuild_parameter_with_state"): parameter,
        ("copyreg", "_reconstructor"): reconstructed,
        ("collections", "OrderedDict"): OrderedDict,
        ("builtins", "set"): set,
        ("builtins", "slice"): slice,
        ("torch", "Size"): tuple,
        **{("torch", name): getattr(torch, name) for name in _DTYPES},
    }


def _tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    """A view of a storage; ValueError for one that would reach beyond it."""
    if not isinstance(storage, Tensor):
        raise pickle.UnpicklingError("a tensor without a storage")
    size, stride = tuple(size), tuple(stride)
    numbers = (offset, *size, *stride)
    if not all(type(n) is int and n >= 0 for n in numbers) or len(size) != len(stride):
        raise pickle.UnpicklingError("a tensor with an impossible shape")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if len(size) > _MOST_DIMENSIONS or (0 not in size and last >= storage.numel()):
        raise pickle.UnpicklingError("a tensor that reaches beyond its storage")
    # Repeated numbers (stride 0) could make a small file fill the memory later.
    if int(np.prod(size, dtype=object)) > storage.numel():
        raise pickle.UnpicklingError("a tensor larger than its storage")
    return storage.as_strided(size, stride, offset)
