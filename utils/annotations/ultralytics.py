"""Ultralytics' layout: a YAML file that names folders or lists, with label files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..command.errors import UserError
from ..command.outside.yaml_file import parsed_yaml
from ..data.darknet_files import (
    MAX_PATH_CHARACTERS,
    MAX_SMALL_TEXT_BYTES,
    exists,
    load_list,
    read_text,
)
from ..detection.sources import IMAGE_SUFFIXES
from .collected import Collected
from .yolo_rows import read_images

_KEYS = {"train": "train", "val": "valid", "test": "test"}
_MOST_POINTS = 1000


def read_ultralytics(source: Path, names: Sequence[str] | None) -> Collected:
    """SOURCE is the YAML file, or a folder with one.

    What a row of a label file means is said by `kpt_shape` of the YAML (pose) and by the number of
    its columns; see `yolo_rows`. A YAML file that names no images (supervision's) speaks of the
    folders train, valid and test beside it.
    """
    path = _yaml_file(source)
    settings = _settings(path)
    collected = Collected(names=list(names) if names else _names(settings, path))
    key_points = _key_point_columns(settings, path)
    root = _root(settings, path)
    for split, entries in _entries_by_split(settings, path).items():
        for entry in entries:
            images = list(_images(_place(root, path, entry), path))
            read_images(collected, split, images, key_points)
    return collected


def _entries_by_split(settings: dict[str, Any], path: Path) -> dict[str, list[str]]:
    if _KEYS.keys() & settings.keys():
        return {split: _entries(settings.get(key)) for key, split in _KEYS.items()}
    folders = {"train": ("train",), "valid": ("valid", "val"), "test": ("test",)}
    found = {
        split: [name for name in names if (path.parent / name).is_dir()]
        for split, names in folders.items()
    }
    if not any(found.values()):
        raise UserError(f"{path}: names no train, val or test images, nor are such folders there")
    return found


def _key_point_columns(settings: dict[str, Any], path: Path) -> int:
    """Columns behind the box in pose labels: `kpt_shape: [points, numbers each]`; 0: none."""
    shape = settings.get("kpt_shape")
    if shape is None:
        return 0
    whole = isinstance(shape, list) and len(shape) == 2 and all(type(n) is int for n in shape)
    if not whole or not (0 < shape[0] <= _MOST_POINTS and shape[1] in (2, 3)):
        raise UserError(f"{path}: kpt_shape must be [points, 2 or 3], not {shape}")
    return int(shape[0] * shape[1])


def _yaml_file(source: Path) -> Path:
    if source.is_file():
        return source
    found = sorted(p for s in ("*.yaml", "*.yml") for p in source.glob(s))
    if len(found) != 1:
        what = "no .yaml file" if not found else f"{len(found)} .yaml files"
        raise UserError(f"{source}: {what} there; name the one that describes the data set")
    return found[0]


def _settings(path: Path) -> dict[str, Any]:
    text = read_text(path, "a data set's YAML file", MAX_SMALL_TEXT_BYTES)
    settings = parsed_yaml(text, path)
    if not isinstance(settings, dict):
        raise UserError(f"{path}: names no train, val or test images")
    return settings


def _names(settings: dict[str, Any], path: Path) -> list[str]:
    names = settings.get("names")
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[k] for k in range(len(names))]
    if isinstance(names, list) and names:
        if any(isinstance(name, list | dict) for name in names):
            raise UserError(f"{path}: names must be words")
        return [str(name) for name in names]
    raise UserError(f"{path}: names must list the classes, from 0")


def _root(settings: dict[str, Any], path: Path) -> Path:
    """`path:` of the YAML file where that is a folder, else the file's own folder."""
    stated = Path(str(settings.get("path") or ".")[:MAX_PATH_CHARACTERS])
    for root in (path.parent / stated, stated):
        if exists(root) and root.is_dir():
            return root
    return path.parent


def _place(root: Path, path: Path, entry: str) -> Path:
    # Exports often say ../train/images where it is train/images.
    inner = entry.removeprefix("../")
    places = (root / entry, path.parent / entry, root / inner, path.parent / inner)
    found = next((p for p in places if exists(p)), None)
    if found is None:
        raise UserError(f"{path}: {entry} is not there (looked in {root} and {path.parent})")
    return found


def _entries(value: Any) -> list[str]:
    """One path, or a list of paths, or a list of such lists."""
    if value is None:
        return []
    return [e for v in value for e in _entries(v)] if isinstance(value, list) else [_text(value)]


def _text(value: Any) -> str:
    return str(value)[:MAX_PATH_CHARACTERS].replace("\0", "?")  # what no path can hold


def _images(place: Path, path: Path) -> list[Path]:
    if place.is_file():
        return [image for _, image in load_list(place)]
    if place.resolve().parent == place.resolve():
        raise UserError(f"{path}: {place} is a whole disk, which is not looked through for images")
    found = sorted(p for p in place.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise UserError(f"{path}: {place} holds no image")
    return found
