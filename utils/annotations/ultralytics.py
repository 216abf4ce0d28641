"""Ultralytics' layout: a YAML file that names folders or lists; label files as Darknet's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..command.errors import UserError
from ..command.optional import load
from ..command.progress import progress_bar
from ..data.darknet_files import MAX_SMALL_TEXT_BYTES, exists, load_list, read_text
from ..data.images import Size
from ..data.labels import label_path
from ..detection.sources import IMAGE_SUFFIXES
from .collected import Annotated, Collected

_KEYS = {"train": "train", "val": "valid", "test": "test"}


def read_ultralytics(source: Path, names: Sequence[str] | None) -> Collected:
    """SOURCE is the YAML file, or a folder with one. Polygons become the boxes around them.

    A row of a label file is class and box, or class and the points of a polygon or turned box.
    """
    path = _yaml_file(source)
    settings = _settings(path)
    collected = Collected(names=list(names) if names else _names(settings, path))
    root = _root(settings, path)
    for key, split in _KEYS.items():
        for entry in _entries(settings.get(key)):
            images = list(_images(_place(root, path, entry), path))
            for image in progress_bar(images, f"reading {split}", "img"):
                hw = collected.size_of(image)
                if hw is not None:
                    rows = _rows(collected, label_path(image), hw)
                    collected.splits[split].append(
                        Annotated(image, hw, collected.boxes(rows, hw, image))
                    )
    return collected


def _rows(
    collected: Collected, path: Path, hw: Size
) -> Iterator[tuple[int, float, float, float, float]]:
    """Class, x1, y1, x2, y2 in pixels of each row that makes sense."""
    if not exists(path):
        return
    height, width = hw
    text = read_text(path, "a label file", MAX_SMALL_TEXT_BYTES)
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            label, *values = (float(cell) for cell in line.split())
        except ValueError:
            values, label = [], -1.0
        polygon = len(values) >= 6 and len(values) % 2 == 0
        if not (0 <= label < len(collected.names) and label.is_integer()) or not (
            polygon or len(values) == 4
        ):
            collected.note(
                "rows left out: not class and box, or class and polygon", f"{path}:{number}"
            )
            continue
        if polygon:
            collected.note("polygons that became boxes", f"{path}:{number}")
            xs, ys = values[0::2], values[1::2]
            x1, x2, y1, y2 = min(xs), max(xs), min(ys), max(ys)
        else:
            xc, yc, w, h = values
            x1, x2, y1, y2 = xc - w / 2, xc + w / 2, yc - h / 2, yc + h / 2
        yield int(label), x1 * width, y1 * height, x2 * width, y2 * height


def _yaml_file(source: Path) -> Path:
    if source.is_file():
        return source
    found = sorted(p for s in ("*.yaml", "*.yml") for p in source.glob(s))
    if len(found) != 1:
        what = "no .yaml file" if not found else f"{len(found)} .yaml files"
        raise UserError(f"{source}: {what} there; name the one that describes the data set")
    return found[0]


def _settings(path: Path) -> dict[str, Any]:
    yaml = load("yaml")
    text = read_text(path, "a data set's YAML file", MAX_SMALL_TEXT_BYTES)
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(settings, dict) or not {"train", "val", "test"} & settings.keys():
        raise UserError(f"{path}: names no train, val or test images")
    return settings


def _names(settings: dict[str, Any], path: Path) -> list[str]:
    names = settings.get("names")
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        return [str(names[k]) for k in sorted(names)]
    if isinstance(names, list) and names:
        return [str(name) for name in names]
    raise UserError(f"{path}: names must list the classes, from 0")


def _root(settings: dict[str, Any], path: Path) -> Path:
    """`path:` of the YAML file where that is a folder, else the file's own folder."""
    stated = Path(str(settings.get("path") or "."))
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
    if value is None:
        return []
    return [str(v) for v in value] if isinstance(value, list) else [str(value)]


def _images(place: Path, path: Path) -> list[Path]:
    if place.is_file():
        return [image for _, image in load_list(place)]
    found = sorted(p for p in place.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise UserError(f"{path}: {place} holds no image")
    return found
