"""YOLO label files without a YAML: lists and a .data file (Darknet's, CVAT's), or a mere folder
with a list of classes (Label Studio's, LabelImg's)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..command.errors import UserError
from ..data.darknet_files import load_data_file, load_list, load_names
from ..data.labels import label_path
from ..detection.sources import IMAGE_SUFFIXES
from .collected import Collected, split_of_folders
from .yolo_rows import read_images

_NAME_FILES = ("classes.txt", "obj.names", "*.names")


def is_yolo_folder(path: Path) -> bool:
    """Whether a folder holds a list of classes and at least one image with a label file."""
    return _names_file(path) is not None and any(label_path(p).is_file() for p in _images(path))


def read_yolo_folder(source: Path, names: Sequence[str] | None) -> Collected:
    """All images below SOURCE with a label file; the others are counted, not taken as negatives.

    Folders called train, valid or test are the split. Raises UserError without a list of classes.
    """
    file = _names_file(source)
    if names is None and file is None:
        raise UserError(f"{source}: no classes.txt or .names file that lists the classes")
    collected = Collected(names=list(names or (load_names(file) if file else ())))
    by_split: dict[str, list[Path]] = {}
    for image in _images(source):
        if label_path(image).is_file():
            by_split.setdefault(split_of_folders(image, source), []).append(image)
        else:
            collected.note("images left out: no label file", image)
    for split, images in by_split.items():
        read_images(collected, split, images)
    return collected


def data_file_in(folder: Path) -> Path | None:
    """The .data file of a folder, in it or in `data` below. Raises UserError for several."""
    found = sorted((*folder.glob("*.data"), *folder.glob("data/*.data")))
    if len(found) > 1:
        names = ", ".join(str(file) for file in found[:3])
        raise UserError(f"{folder}: holds {len(found)} .data files; name one ({names})")
    return found[0] if found else None


def read_darknet(source: Path, names: Sequence[str] | None) -> Collected:
    """The lists that the .data file of a folder names. Raises UserError without one."""
    file = data_file_in(source)
    if file is None:
        raise UserError(f"{source}: no .data file in it")
    spec = load_data_file(file)
    collected = Collected(names=list(names or spec.names))
    for split, listed in (("train", spec.train), ("valid", spec.valid)):
        if listed is not None:
            read_images(collected, split, [image for _, image in load_list(listed)])
    return collected


def _names_file(path: Path) -> Path | None:
    found = [file for pattern in _NAME_FILES for file in sorted(path.glob(pattern))]
    found += [file for file in sorted(path.glob("*/classes.txt")) if file.parent.name == "labels"]
    return found[0] if found else None


def _images(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
