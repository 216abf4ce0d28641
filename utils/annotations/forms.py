"""What `--data` may be: a .data file, or a set as another tool wrote it, read as it lies there.

A set of another form becomes lists and label files in a folder of its own, with links to the
images, once for each state of its files; the set itself is not touched.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from ..command.errors import UserError
from ..data.darknet_files import load_data_file
from ..detection.sources import IMAGE_SUFFIXES
from .coco import read_coco
from .collected import Collected
from .oxford_hand import read_oxford_hand
from .ready import OTHER_FORMS
from .ultralytics import read_ultralytics
from .voc import read_voc
from .write import summary, write_darknet
from .yolo_folder import data_file_in, is_yolo_folder, read_darknet, read_yolo_folder

Reader = Callable[[Path, Sequence[str] | None], Collected]

CACHE = Path("runs/data")
VALID_SHARE, SEED = 0.2, 0  # where a set has no validation images

logger = logging.getLogger(__name__)


def data_file(given: str | Path, cache: Path = CACHE) -> Path:
    """The .data file of a data set in any known form; made in `cache` where the set has none.

    A .data file or a folder that holds one, a data.yaml or a folder with one, COCO's JSON or a
    folder with such files, a folder of VOC's XML files, a folder of YOLO labels with a list of
    classes. But for a .data file that is named itself, a set without validation images has some of
    its training images drawn for that. Raises UserError that says what was looked for.
    """
    path = Path(given)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder (a data set)")
    ready = _ready(path)
    if ready is not None and (path.is_file() or load_data_file(ready).valid is not None):
        return ready
    kind, reader = reader_for(path)
    target = cache / f"{path.resolve().stem}-{_state_of(path)}"
    file = target / f"{target.name}.data"
    if file.is_file():
        logger.info("%s: read as %s; converted before: %s", path, kind, file)
        return file
    collected = reader(path, None)
    split = collected.split_off_valid(VALID_SHARE, SEED)
    collected.require_images(path)
    write_darknet(collected, target, link=True)
    chosen = f"; {split} images drawn for validation (seed {SEED})" if split else ""
    logger.info("%s: read as %s%s: %s\n%s", path, kind, chosen, file, summary(collected))
    return file


def reader_for(path: Path) -> tuple[str, Reader]:
    """What a file or folder is, in words, and its reader. Raises UserError."""
    if path.is_file():
        by_suffix: dict[str, tuple[str, Reader]] = {
            ".yaml": ("an Ultralytics data set", read_ultralytics),
            ".yml": ("an Ultralytics data set", read_ultralytics),
            ".json": ("COCO's JSON", read_coco),
        }
        if path.suffix.lower() in by_suffix:
            return by_suffix[path.suffix.lower()]
        if path.suffix.lower() == ".zip":
            raise UserError(f"{path}: an archive; unpack it and name the folder")
        raise UserError(f"{path}: no .data, .yaml or .json file, so not a data set")
    if _ready(path) is not None:
        return "a set of Darknet's lists", read_darknet
    if any(path.glob("*.yaml")) or any(path.glob("*.yml")):
        return "an Ultralytics data set", read_ultralytics
    if is_yolo_folder(path):
        return "a folder of YOLO labels", read_yolo_folder
    if any(path.rglob("*.json")):
        return "COCO's JSON", read_coco
    if any(path.rglob("*.xml")):
        return "Pascal VOC", read_voc
    raise UserError(
        f"{path}: holds no data set: no .data file, data.yaml, COCO's .json, VOC's .xml, or label "
        "files with a classes.txt beside them"
    )


# What data/convert.py reads, by the names of its command line.
READERS: dict[str, Reader] = {
    "auto": lambda source, names: reader_for(source)[1](source, names),
    "yolo": read_yolo_folder,
    "voc": read_voc,
    "coco": read_coco,
    "ultralytics": read_ultralytics,
    "oxford-hand": read_oxford_hand,
}


def _ready(path: Path) -> Path | None:
    """The .data file itself, or the only one in a folder. Raises UserError for several."""
    if path.is_file():
        return None if path.suffix.lower() in OTHER_FORMS else path
    return data_file_in(path)


def _state_of(path: Path) -> str:
    """A short digest of where a set lies and what its files are, so that changes are seen."""
    root = path.parent if path.is_file() else path
    digest = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape"))
    for file in sorted(root.rglob("*")):
        if file.is_file():
            stat = file.stat()
            told = "" if file.suffix.lower() in IMAGE_SUFFIXES else f"{stat.st_mtime_ns}"
            line = f"{file.relative_to(root)} {stat.st_size} {told}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:8]
