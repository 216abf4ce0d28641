"""A collected data set as files in Darknet's layout, and its first labels in a picture."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from ..command.folders import whole_folder
from ..command.progress import progress_bar
from ..command.table import table
from ..data.darknet_files import names_text, printable
from ..data.images import UnreadableImageError
from ..pictures.detections import Picture
from ..pictures.labelled import encoded, labelled_picture, sheet
from .collected import EXAMPLES, SPLITS, Annotated, Collected

LABELLED = "labelled.jpg"
_DRAWN, _COLUMNS = 9, 3


def write_darknet(collected: Collected, target: Path, link: bool) -> Path:
    """Write TARGET, a new folder: images, labels, a list per split, NAME.names, NAME.data.

    LABELLED is a picture of the first images with boxes, which shows whether these lie right.
    Images are copied, or linked to where they lie. Returns the .data file's path.
    """
    name = target.name
    place: Callable[[Path, Path], object] = _linked if link else shutil.copyfile
    with whole_folder(target, "DST") as folder:
        for split in SPLITS:
            if collected.splits[split]:
                lines = _write_split(collected.splits[split], folder, split, place)
                (folder / f"{split}.txt").write_text(lines, encoding="utf-8")
        (folder / f"{name}.names").write_text(names_text(collected.names), encoding="utf-8")
        lists = [f"{split}={split}.txt" for split in SPLITS if collected.splits[split]]
        rows = [f"classes={len(collected.names)}", *lists, f"names={name}.names", "backup=."]
        (folder / f"{name}.data").write_text("\n".join(rows) + "\n", encoding="utf-8")
        _draw_first(collected, folder / LABELLED)
    return target / f"{name}.data"


def _write_split(
    images: list[Annotated], folder: Path, split: str, place: Callable[[Path, Path], object]
) -> str:
    """Image and label files of one split; returns the list's text."""
    for kind in ("images", "labels"):
        (folder / kind / split).mkdir(parents=True)
    used: set[str] = set()
    lines = []
    for item in progress_bar(images, f"writing {split}", "img"):
        stem, number = printable(item.image.stem), 1
        suffix = printable(item.image.suffix)
        while stem.lower() in used:
            number += 1
            stem = f"{printable(item.image.stem)}-{number}"
        used.add(stem.lower())
        place(item.image, folder / "images" / split / f"{stem}{suffix}")
        rows = [
            f"{int(label)} " + " ".join(f"{v:.8f}" for v in box) + "\n"
            for label, *box in item.rows.tolist()
        ]
        (folder / "labels" / split / f"{stem}.txt").write_text("".join(rows), encoding="utf-8")
        lines.append(f"images/{split}/{stem}{suffix}\n")
    return "".join(lines)


def _draw_first(collected: Collected, path: Path) -> None:
    drawn = list(itertools.islice(_labelled(collected), _DRAWN))
    if drawn:
        path.write_bytes(encoded(sheet(drawn, _COLUMNS), path.suffix))


def _labelled(collected: Collected) -> Iterator[Picture]:
    for item in itertools.chain(*collected.splits.values()):
        if len(item.rows):
            try:
                yield labelled_picture(item.image, item.rows, collected.names)
            except UnreadableImageError:  # those who read the data set say so
                continue


def _linked(source: Path, target: Path) -> None:
    os.symlink(source.resolve(), target)  # noqa: PTH211 - the order of names reads better here


def summary(collected: Collected) -> str:
    """Images and boxes per split, then what was changed or left out."""
    rows = [["split", "images", "without boxes", "boxes"]]
    for split in SPLITS:
        images = collected.splits[split]
        if images:
            empty = sum(not len(item.rows) for item in images)
            boxes = sum(len(item.rows) for item in images)
            rows.append([split, str(len(images)), str(empty), str(boxes)])
    noted = [
        f"{count} {what} ({', '.join(collected.examples[what])}{', ...' * (count > EXAMPLES)})"
        for what, count in collected.counts.most_common()
    ]
    return "\n".join([table(rows, right=(1, 2, 3)), *noted])
