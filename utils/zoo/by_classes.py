"""Networks whose widths go by the number of classes: written anew instead of copied."""

from __future__ import annotations

import difflib
from pathlib import Path

from ..cfg import Cfg, format_cfg, parse_cfg
from ..command.errors import UserError
from . import BY_CLASSES
from .draft import COCO_CLASSES

FOLDER = Path("cfg")


def source_path(given: str) -> Path:
    """The file that `given` is or, where it is a network's name, would be."""
    path = Path(given)
    return FOLDER / f"{given}.cfg" if given in BY_CLASSES and not path.is_file() else path


def fresh_cfg(path: Path) -> Cfg:
    """The network that a file which is not there is named after, for COCO's classes.

    Raises UserError for any other.
    """
    text = BY_CLASSES.get(path.stem) if path.suffix == ".cfg" else None
    if text is None:
        near = difflib.get_close_matches(path.stem, BY_CLASSES, 1)
        hint = f"did you mean {near[0]}?" if near else "names are yolov8n, yolov10n, yolo11n, ..."
        raise UserError(f"--cfg {path}: no such file, and no network of that name; {hint}")
    return parse_cfg(text(COCO_CLASSES), str(path))


def for_so_many(cfg: Cfg, nc: int) -> Cfg:
    """The same network written for `nc` classes, where the cfg is one of these, unchanged.

    Any other stays as it is.
    """
    text = BY_CLASSES.get(Path(cfg.source).stem)
    if text is None or format_cfg(cfg) != text(COCO_CLASSES):
        return cfg
    return parse_cfg(text(nc), cfg.source)
