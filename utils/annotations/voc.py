"""Pascal VOC: an XML file per image, lists of names in ImageSets/Main."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from ..command.errors import UserError
from ..command.progress import progress_bar
from ..data.darknet_files import MAX_SMALL_TEXT_BYTES, read_text
from .collected import Annotated, Collected, read_limited, split_of

_IMAGE_FOLDERS = ("JPEGImages", "images", ".")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


def read_voc(source: Path, names: Sequence[str] | None) -> Collected:
    """SOURCE/Annotations/*.xml with SOURCE/JPEGImages (or images, or beside each other).

    Lists train, val (or trainval) and test in ImageSets/Main make the splits. Classes are `names`,
    or those found, in alphabetical order. Boxes count pixels from 1, both ends included.
    """
    folder = source / "Annotations" if (source / "Annotations").is_dir() else source
    files = {path.stem: path for path in sorted(folder.glob("*.xml"))}
    if not files:
        raise UserError(f"{folder}: no .xml file; name the folder that holds Annotations")
    trees = {stem: _parsed(path) for stem, path in progress_bar(files.items(), "reading", "file")}
    collected = Collected(names=list(names) if names else _names(trees))
    splits = _splits(source)
    for stem, tree in progress_bar(trees.items(), "checking images", "img"):
        image = _image(source, folder, stem, tree)
        if image is None:
            collected.note("annotations left out: no such image", files[stem])
            continue
        annotated = _annotated(collected, image, tree, files[stem])
        if annotated:
            collected.splits[splits.get(stem, "train")].append(annotated)
    return collected


def _annotated(
    collected: Collected, image: Path, tree: ElementTree.Element, where: Path
) -> Annotated | None:
    stated = (_number(tree, "size/height"), _number(tree, "size/width"))
    hw = collected.size_of(image, (int(stated[0] or 0), int(stated[1] or 0)))
    if hw is None:
        return None
    boxes = []
    for item in tree.iter("object"):
        name = (item.findtext("name") or "").strip()
        corners = [_number(item, f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")]
        if name not in collected.names:
            collected.note(f"boxes left out: class '{name[:40]}' is not among the names", where)
        elif None in corners:
            collected.note("boxes left out: no numbers", where)
        else:
            x1, y1, x2, y2 = (float(c or 0) for c in corners)
            boxes.append((collected.names.index(name), x1 - 1, y1 - 1, x2, y2))
    return Annotated(image, hw, collected.boxes(boxes, hw, where))


def _parsed(path: Path) -> ElementTree.Element:
    data = read_limited(path, "a VOC annotation", MAX_SMALL_TEXT_BYTES)
    if b"<!ENTITY" in data:  # could grow without end; no annotation has one
        raise UserError(f"{path}: defines XML entities, which an annotation does not need")
    try:
        return ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: not XML ({error})") from None


def _names(trees: dict[str, ElementTree.Element]) -> list[str]:
    found = {
        (item.findtext("name") or "").strip() for tree in trees.values()
        for item in tree.iter("object")
    }  # fmt: skip
    return sorted(found - {""})


def _splits(source: Path) -> dict[str, str]:
    """Split of each stem that a list names; the list with the narrowest meaning counts."""
    lists = source / "ImageSets" / "Main"
    splits: dict[str, str] = {}
    for name in ("trainval", "train", "val", "valid", "test"):
        path = lists / f"{name}.txt"
        if path.is_file():
            text = read_text(path, "a list of names", MAX_SMALL_TEXT_BYTES)
            stems = [line.split()[0] for line in text.splitlines() if line.strip()]
            split = "train" if name == "trainval" else split_of(name)
            splits.update(dict.fromkeys(stems, split))
    # A set split in trainval and test only (as BCCD's) is validated on its test images.
    if splits and "valid" not in splits.values():
        splits = {k: "valid" if v == "test" else v for k, v in splits.items()}
    return splits


def _image(source: Path, folder: Path, stem: str, tree: ElementTree.Element) -> Path | None:
    # Only the last part of the name that the file states: it must not lead elsewhere.
    stated = Path((tree.findtext("filename") or "").replace("\\", "/")).name
    names = [*([stated] if stated else []), *(f"{stem}{s}" for s in _SUFFIXES)]
    for name in names:
        for place in (*(source / f for f in _IMAGE_FOLDERS), folder):
            if (place / name).is_file():
                return place / name
    return None


def _number(node: ElementTree.Element, path: str) -> float | None:
    try:
        return float(node.findtext(path) or "")
    except ValueError:
        return None
