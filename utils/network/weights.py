"""`.weights` files and `.pt` checkpoints <-> a network's tensors.

A state maps `layers.<index>.<name>` to tensors, as `Darknet.state_dict()` does. The file format is
that of dialect section 11: three int32 (version), `seen` (uint64 since version 0.2, else uint32),
then float32 arrays, layer by layer, without any count or checksum.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..cfg.parse import LARGEST_CFG_BYTES
from ..command.errors import UserError
from ..command.files import atomic_write, require_file
from .checkpoints.file import read_checkpoint, why_no_weights
from .checkpoints.older_suites import is_of_an_older_suite, under_our_names
from .layers import Field, Layer
from .layers.normalization import BN_EPS

logger = logging.getLogger(__name__)

State = dict[str, Tensor]

WRITTEN_VERSION = (0, 2, 5)
FORMAT = 1  # of our checkpoints
_TRANSPOSED_SINCE = 1000  # a major or minor version above it stores [connected] transposed
_LARGEST_VERSION = 100_000
_ZIP_START = b"PK\x03\x04"
_REPLACEMENT_CHARACTER = b"\xef\xbf\xbd"  # what a text conversion leaves of bytes it cannot read


@dataclass(frozen=True)
class Header:
    """Version of a `.weights` file and the number of training images it has seen."""

    major: int
    minor: int
    revision: int
    seen: int
    size: int  # bytes


def key_of(index: int, name: str) -> str:
    """The state's key of a layer's tensor."""
    return f"layers.{index}.{name}"


def index_of(key: str) -> int:
    """The layer that a state's key belongs to; -1 for a key of another program."""
    prefix, _, rest = key.partition(".")
    index = rest.partition(".")[0]
    return int(index) if prefix == "layers" and index.isdecimal() else -1


def state_at(state: Mapping[str, Tensor], places: Mapping[int, int]) -> State:
    """The tensors of the layers in `places`, old index -> new index, under their new keys."""
    return {
        key_of(places[index_of(key)], name_of(key)): tensor
        for key, tensor in state.items()
        if index_of(key) in places
    }


def name_of(key: str) -> str:
    """The tensor's name within its layer."""
    return key.split(".", 2)[2]


def split_state(state: Mapping[str, Tensor], layers: Sequence[Layer]) -> list[State]:
    """The tensors of each layer (or of the layer whose kernel it shares), by their short names."""
    found: dict[int, State] = {layer.index: {} for layer in layers}
    for key, tensor in state.items():
        found[index_of(key)][name_of(key)] = tensor
    return [found[layer.owner] for layer in layers]


def load_darknet_weights(
    path: str | Path, layers: Sequence[Layer], cutoff: int | None = None
) -> tuple[State, Header]:
    """Read a `.weights` file for these layers, or for those before layer `cutoff`.

    Without `cutoff` the file must hold exactly the layers' numbers; with it, at least those.
    Raises UserError that says how many numbers are missing or left over, or what the file is.
    """
    found = require_file(path, "the weights")
    header = _read_header(found)
    wanted = layers if cutoff is None else layers[:cutoff]
    fields = [(layer.index, field) for layer in wanted for field in layer.loaded_fields()]
    expected = sum(field.size for _, field in fields)
    payload = found.stat().st_size - header.size
    _check_length(found, payload, expected, at_least=cutoff is not None)
    return dict(_tensors(found, header, fields)), header


def _tensors(
    path: Path, header: Header, fields: Sequence[tuple[int, Field]]
) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a file, one by one: the whole file and its tensors would be twice it."""
    old_order = max(header.major, header.minor) > _TRANSPOSED_SINCE
    with path.open("rb") as file:
        file.seek(header.size)
        for index, field in fields:
            part = np.fromfile(file, "<f4", count=field.size)
            transposed = field.transposed or (field.transposed_in_old_files and old_order)
            yield key_of(index, field.name), _as_tensor(part, field, transposed)


def save_darknet_weights(
    path: str | Path, layers: Sequence[Layer], state: Mapping[str, Tensor], seen: int = 0
) -> None:
    """Write a `.weights` file, version 0.2.5 with a 64-bit `seen`, whole or not at all."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<iiiQ", *WRITTEN_VERSION, seen))
        for layer in layers:
            for field in layer.fields():
                tensor = state.get(key_of(layer.index, field.name))
                if tensor is None or tuple(tensor.shape) != field.shape:
                    raise UserError(
                        f"{path}: layer {layer.index} has no {field.name} of shape {field.shape} "
                        "(a fused model cannot be saved; save before fusing)"
                    )
                file.write(_in_file_order(tensor, field))


def save_checked_weights(
    path: str | Path, layers: Sequence[Layer], state: Mapping[str, Tensor], seen: int = 0
) -> None:
    """`save_darknet_weights`, and read again. Raises UserError if it is not the same numbers."""
    save_darknet_weights(path, layers, state, seen)
    fields = [(layer.index, field) for layer in layers for field in layer.fields()]
    written, header = Path(path), _read_header(Path(path))
    expected = sum(field.size for _, field in fields)
    _check_length(written, written.stat().st_size - header.size, expected, at_least=False)
    back = _tensors(written, header, fields)
    if any(not torch.equal(tensor, state[key].float()) for key, tensor in back):
        raise UserError(f"{path}: reads back as other numbers than were written; check the disk")


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a `.pt` checkpoint: a dict whose `model` is a state. Code in it is never run.

    Raises UserError for anything else.
    """
    found = require_file(path, "the weights")
    checkpoint = read_checkpoint(found)
    if _is_state(checkpoint) and is_of_an_older_suite(checkpoint):
        checkpoint = {"model": checkpoint}
    model = checkpoint.get("model") if isinstance(checkpoint, dict) else None
    if not _is_state(model):
        raise UserError(f"{found}: has no 'model' with tensors; not a checkpoint of this program")
    if is_of_an_older_suite(model):
        logger.info("%s: its tensors are named as an older suite names them: read as ours", found)
        model = under_our_names(model)
    for key, tensor in model.items():
        if why := why_no_weights(tensor):
            raise UserError(f"{found}: {str(key)[:80]} is {why}, which no layer's weights are")
    _require_plain(found, checkpoint)
    # Kernels trained channels-last lie so in the file; who views them otherwise wants them plain.
    plain = {str(key): tensor.contiguous() for key, tensor in model.items()}
    return {**{str(key): value for key, value in checkpoint.items()}, "model": plain}


def _is_state(found: object) -> TypeGuard[dict[str, Tensor]]:
    return isinstance(found, dict) and all(isinstance(t, Tensor) for t in found.values())


def checkpoint_content(cfg_text: str, state: Mapping[str, Tensor], seen: int) -> dict[str, Any]:
    """What each checkpoint of this program holds: the network as text and its numbers.

    Some hold more beside it. `seen`: training images so far.
    """
    plain = {key: tensor.contiguous() for key, tensor in state.items()}
    return {"format": FORMAT, "cfg": cfg_text, "model": plain, "seen": seen}


def _require_plain(path: Path, checkpoint: Mapping[Any, Any]) -> None:
    """Raise UserError where what stands beside the weights is not what we write there."""
    seen, text = checkpoint.get("seen", 0), checkpoint.get("cfg", "")
    if type(seen) is not int or not 0 <= seen < 1 << 63:
        raise UserError(f"{path}: its 'seen' is no number of images")
    if not isinstance(text, str) or len(text) > LARGEST_CFG_BYTES:
        raise UserError(f"{path}: its 'cfg' is no text of a network")


def names_in(checkpoint: Mapping[str, Any]) -> tuple[str, ...]:
    """The class names that a checkpoint says, as printable text; () for anything else than a list.

    Files come from strangers: what has the wrong form is left out, as if it were not there.
    """
    names = checkpoint.get("names")
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return ()
    return tuple("".join(c if c.isprintable() else "?" for c in name) for name in names)


def best_conf_in(checkpoint: Mapping[str, Any]) -> float | None:
    """The score of the best F1 that a checkpoint says; None for what is no number from 0 to 1."""
    conf = checkpoint.get("best_conf")
    return float(conf) if isinstance(conf, int | float) and 0 <= conf <= 1 else None


def require_usable(state: Mapping[str, Tensor], source: str) -> None:
    """Raise UserError for numbers no network can have: NaN, infinity, a negative variance.

    Real files hold variances like -7e-44, which the epsilon makes up for: those pass.
    """
    for key, tensor in state.items():
        if not _all_finite(tensor):
            bad = int((~tensor.isfinite()).sum())
            raise UserError(f"{source}: {key} holds {bad} values that are not finite numbers")
        if key.endswith("running_var") and float(tensor.min()) <= -BN_EPS:
            raise UserError(f"{source}: {key} holds a negative variance ({float(tensor.min()):g})")


def each_alone(tensors: Iterable[Tensor]) -> bool:
    """Whether each tensor, in its order, is all that lies in its memory."""
    found = [(tensor, tensor.untyped_storage()) for tensor in tensors]
    return len({memory.data_ptr() for _, memory in found}) == len(found) and all(
        tensor.is_contiguous() and memory.nbytes() == tensor.nbytes for tensor, memory in found
    )


def _all_finite(tensor: Tensor) -> bool:
    """By the extremes, which keep NaN and infinity: a fourteenth of the time of isfinite()."""
    return not tensor.numel() or all(bool(end.isfinite()) for end in tensor.aminmax())


def is_checkpoint(path: str | Path) -> bool:
    """Whether a file is a PyTorch file (a zip archive), whatever its name."""
    with require_file(path, "the weights").open("rb") as file:
        return file.read(4) == _ZIP_START


def _read_header(path: Path) -> Header:
    with path.open("rb") as file:
        start = file.read(1 << 16)
    other = _what_it_is(start)
    if other:
        raise UserError(f"{path}: {other}, not Darknet weights")
    if len(start) < 16:
        raise UserError(f"{path}: {len(start)} bytes are too few for a .weights header")
    major, minor, revision = struct.unpack_from("<iii", start)
    if not (0 <= major < _LARGEST_VERSION and 0 <= minor < _LARGEST_VERSION):
        raise UserError(f"{path}: version {major}.{minor}.{revision} is none; not Darknet weights")
    wide = major * 10 + minor >= 2
    if wide and len(start) < 20:
        raise UserError(f"{path}: {len(start)} bytes are too few for a .weights header")
    seen = struct.unpack_from("<Q" if wide else "<I", start, 12)[0]
    return Header(major, minor, revision, seen, 20 if wide else 16)


def _what_it_is(start: bytes) -> str:
    """A name for the files that are met in place of weights; '' for what may be weights."""
    if not start:
        return "an empty file"
    if start.startswith(b"version https://git-lfs"):
        return "a git LFS pointer (fetch the real file with 'git lfs pull')"
    if start.startswith(b"EDL"):
        return "an ESP-DL model (which runs on its chip)"
    if start.startswith(b"PK"):
        return "a zip archive (a PyTorch .pt file?)"
    if start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return "a Python pickle"
    if start.count(_REPLACEMENT_CHARACTER) > 8:
        return "damaged by a text conversion (bytes were replaced as if it were UTF-8 text)"
    if start.lstrip()[:1] == b"<":
        return "a web page (a failed download?)"
    if b"\0" not in start and all(byte >= 9 for byte in start[:256]):
        return "a text file"
    return ""


def _check_length(path: Path, payload: int, expected: int, at_least: bool) -> None:
    found, rest = divmod(payload, 4)
    if found < expected:
        raise UserError(
            f"{path}: {expected - found:,} numbers are missing (it holds {found:,}, the cfg needs "
            f"{expected:,}); a file cut short, or of another cfg"
        )
    if at_least:
        return
    if found > expected or rest:
        raise UserError(
            f"{path}: {found - expected:,} numbers and {rest} bytes are left over (it holds "
            f"{found:,}, the cfg needs {expected:,}); the weights of another cfg"
        )


def _as_tensor(numbers: NDArray[np.float32], field: Field, transposed: bool) -> Tensor:
    values = numbers.astype(np.float32, copy=False)
    if transposed:
        values = np.ascontiguousarray(values.reshape(-1, field.shape[0]).T)
    return torch.from_numpy(values.reshape(field.shape))


def _in_file_order(tensor: Tensor, field: Field) -> memoryview:
    values = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
    if field.transposed:
        values = values.reshape(field.shape[0], -1).T
    return np.ascontiguousarray(values, "<f4").data
