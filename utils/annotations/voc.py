"""Pascal VOC: an XML file per image, wherever the folders of a set put them."""

from __future__ import annotations

import codecs
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from ..command.errors import UserError
from ..command.progress import progress_bar
from ..data.darknet_files import MAX_SMALL_TEXT_BYTES, read_text
from ..detection.sources import IMAGE_SUFFIXES
from .collected import Annotated, Collected, read_limited, split_of_folders

_LISTS = ("trainval", "train", "val", "valid", "test")  # the narrowest meaning comes last
_FLAG = re.compile(r"\s+-?[01]$")  # of lists for one class: whether the image holds it
_ENCODING = re.compile(rb"""(?:\xef\xbb\xbf)?<\?xml[^>]*?encoding\s*=\s*["']([\w.-]{1,40})["']""")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class _Entry:
    """One annotation: its file, its content, and the image that it describes, if that is there."""

    path: Path
    tree: ElementTree.Element
    image: Path | None


def read_voc(source: Path, names: Sequence[str] | None) -> Collected:
    """All annotation XML files below SOURCE, with the images beside them or in a folder near.

    Splits: lists in an ImageSets/Main below SOURCE, else folders called train, valid or test.
    Images that a list names and no file describes have no objects. Classes are `names`, or those
    found, in alphabetical order.

    VOC counts pixels from 1, both ends included. Some tools (datumaro, and with it CVAT; Label
    Studio) write corners from 0 instead; a corner below 1, or one with a fraction, gives that away,
    and then the whole set is read so.
    """
    found = sorted(path for path in source.rglob("*.xml") if path.is_file())
    trees = {path: _parsed(path) for path in progress_bar(found, "reading", "file")}
    trees = {path: tree for path, tree in trees.items() if tree.tag == "annotation"}
    if not trees:
        raise UserError(f"{source}: no .xml file with annotations in it or below")
    images = _images_by_name([source]) or _images_by_name(_image_folders_beside(source))
    entries = [_Entry(path, tree, _image(images, path, tree)) for path, tree in trees.items()]
    collected = Collected(names=list(names) if names else _names(trees.values()))
    from_zero = any(_counts_from_zero(entry.tree) for entry in entries)
    if from_zero:
        collected.note("corners counted from 0, not VOC's 1", found[0])
    splits = _listed_splits(source)
    for entry in progress_bar(entries, "checking images", "img"):
        if entry.image is None:
            collected.note("annotations left out: no such image", entry.path)
            continue
        annotated = _annotated(collected, entry, from_zero)
        if annotated:
            split = splits.get(entry.path.stem) or split_of_folders(entry.path, source)
            collected.splits[split].append(annotated)
    described = {entry.path.stem for entry in entries}
    _add_negatives(collected, {k: v for k, v in splits.items() if k not in described}, images)
    return collected


def _add_negatives(
    collected: Collected, splits: dict[str, str], images: dict[str, list[Path]]
) -> None:
    """Images that a list names and no annotation describes: nothing is to be found in them."""
    by_stem = {Path(name).stem: paths for name, paths in images.items()}
    for stem, split in sorted(splits.items()):
        paths = by_stem.get(stem, [])
        hw = collected.size_of(paths[0]) if paths else None
        if hw is None:
            collected.note("names in lists without image and annotation", stem)
            continue
        collected.note("images without an annotation: no objects", paths[0])
        collected.splits[split].append(Annotated(paths[0], hw, collected.boxes([], hw, paths[0])))


def _annotated(collected: Collected, entry: _Entry, from_zero: bool) -> Annotated | None:
    assert entry.image is not None
    stated = (_number(entry.tree, "size/height"), _number(entry.tree, "size/width"))
    hw = collected.size_of(entry.image, (int(stated[0] or 0), int(stated[1] or 0)))
    if hw is None:
        return None
    first = 0 if from_zero else 1
    boxes = []
    for item in entry.tree.iter("object"):
        name = (item.findtext("name") or "").strip()
        corners = [_number(item, f"bndbox/{key}") for key in _CORNERS]
        number = collected.number_of(name)
        if number is None:
            what = f"boxes left out: class '{name[:40]}' is not among the names"
            collected.note(what, entry.path)
        elif None in corners:
            collected.note("boxes left out: no numbers", entry.path)
        else:
            x1, y1, x2, y2 = (float(c or 0) for c in corners)
            boxes.append((number, x1 - first, y1 - first, x2, y2))
    return Annotated(entry.image, hw, collected.boxes(boxes, hw, entry.path))


def _counts_from_zero(tree: ElementTree.Element) -> bool:
    corners = (_number(item, f"bndbox/{k}") for item in tree.iter("object") for k in _CORNERS)
    return any(c is not None and (0 <= c < 1 or not c.is_integer()) for c in corners)


def _parsed(path: Path) -> ElementTree.Element:
    data = read_limited(path, "a VOC annotation", MAX_SMALL_TEXT_BYTES)
    try:
        text = _decoded(data)
        if "<!ENTITY" in text:  # could grow without end; no annotation has one
            raise UserError(f"{path}: defines XML entities, which an annotation does not need")
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{path}: not XML ({error})") from None


def _decoded(data: bytes) -> str:
    """The text, by its byte-order mark or the encoding that it declares (Chinese tools write GBK).

    Expat knows few encodings, and a check of bytes would miss what another one spells otherwise.
    Raises ValueError or LookupError.
    """
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding)
    declared = _ENCODING.match(data)
    return data.decode(declared[1].decode() if declared else "utf-8-sig").removeprefix("\ufeff")


def _names(trees: Iterable[ElementTree.Element]) -> list[str]:
    found = {
        (item.findtext("name") or "").strip() for tree in trees for item in tree.iter("object")
    }
    return sorted(found - {""})


def _listed_splits(source: Path) -> dict[str, str]:
    """Split of each stem that a list in an ImageSets/Main names."""
    splits: dict[str, str] = {}
    folders = sorted(p for p in source.rglob("Main") if p.parent.name == "ImageSets")
    for name in _LISTS:
        for path in (folder / f"{name}.txt" for folder in folders):
            if path.is_file():
                text = read_text(path, "a list of names", MAX_SMALL_TEXT_BYTES)
                stems = [_FLAG.sub("", line.strip()) for line in text.splitlines() if line.strip()]
                split = {"val": "valid", "trainval": "train"}.get(name, name)
                splits.update(dict.fromkeys(stems, split))
    # A set split in trainval and test only (as BCCD's) is validated on its test images.
    if splits and "valid" not in splits.values():
        splits = {k: "valid" if v == "test" else v for k, v in splits.items()}
    return splits


def _image_folders_beside(source: Path) -> list[Path]:
    """Where the images lie when SOURCE is the folder of the annotations itself."""
    beside = source.resolve().parent.iterdir()
    return sorted(p for p in beside if p.is_dir() and "image" in p.name.lower())


def _images_by_name(folders: Iterable[Path]) -> dict[str, list[Path]]:
    """All images in folders and below by their file name."""
    images: defaultdict[str, list[Path]] = defaultdict(list)
    for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            images[path.name].append(path)
    return images


def _image(images: dict[str, list[Path]], path: Path, tree: ElementTree.Element) -> Path | None:
    """The image of an annotation: the nearest of those with its name, or with its stem.

    Only the last part of the name that the file states counts: it must not lead elsewhere.
    """
    stated = Path((tree.findtext("filename") or "").replace("\\", "/")).name
    suffixes = (s for suffix in sorted(IMAGE_SUFFIXES) for s in (suffix, suffix.upper()))
    for name in (stated, *(f"{path.stem}{suffix}" for suffix in suffixes)):
        if images.get(name):
            return max(images[name], key=lambda image: _shared_folders(image, path))
    return None


def _shared_folders(a: Path, b: Path) -> int:
    """How many folders two paths have in common, from the root on."""
    count = 0
    for one, other in zip(a.parts[:-1], b.parts[:-1], strict=False):
        if one != other:
            break
        count += 1
    return count


def _number(node: ElementTree.Element, path: str) -> float | None:
    try:
        value = float(node.findtext(path) or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
