"""The structure that a file says: a cfg's own text, or the one that a checkpoint of ours holds."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

from ..cfg import Cfg, load_cfg, parse_cfg
from ..command.errors import UserError
from ..command.files import require_file

_CHECKPOINTS = (".pt", ".pth")
_ZIP_START = b"PK\x03\x04"  # of what torch.save writes
_PICKLE, _MOST_BYTES = "/data.pkl", 64 << 20
_DAMAGE = (
    OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError, struct.error,
)  # fmt: skip


def read_cfg(path: str | Path) -> Cfg:
    """The parsed cfg of a `.cfg` file, or of a checkpoint.

    Errors in a checkpoint's text name `FILE's cfg:LINE`. Light for a cfg; a checkpoint needs torch.
    Raises UserError for a file that is not there, or a checkpoint that holds no cfg, and CfgError
    for a text that is wrong.
    """
    with require_file(path, "the cfg").open("rb") as file:
        if file.read(len(_ZIP_START)) != _ZIP_START:
            return load_cfg(path)
    from .weights import load_checkpoint

    text = load_checkpoint(path).get("cfg")
    if not isinstance(text, str) or not text:
        raise UserError(f"{path}: holds no cfg, as other programs' checkpoints: name it with --cfg")
    return parse_cfg(text, f"{path}'s cfg")


def own_cfg(weights: str | Path) -> str | None:
    """Where the cfg of some weights is, as `read_cfg` takes it; None where nothing says so.

    In a checkpoint itself; else in NAME.cfg or NAME.pt beside NAME.weights, or beside what was
    exported of them.
    """
    path = Path(weights)
    if path.suffix.lower() in _CHECKPOINTS:
        return str(weights)
    if path.suffix in ("", ".cfg"):
        return None
    stem = path.stem.removesuffix(".ncnn").removesuffix("-int8").removesuffix("-half")
    beside = (path.with_name(stem + suffix) for suffix in (".cfg", ".pt"))
    return next((str(found) for found in beside if found.is_file()), None)


def is_ultralytics(path: str | Path) -> bool:
    """Whether a checkpoint's pickle names a class of that library, by its bytes: it is not opened.

    False for what is no archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = [entry for entry in archive.infolist() if entry.filename.endswith(_PICKLE)]
            if len(found) != 1 or found[0].file_size > _MOST_BYTES:
                return False
            return b"ultralytics." in archive.read(found[0])
    except _DAMAGE:
        return False
