"""COCO's JSON: read into our layout, and written from it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..command.errors import UserError
from ..command.files import atomic_write
from ..command.outside.json_file import parsed_json
from ..command.progress import progress_bar
from ..data.darknet_files import exists, load_data_file
from ..data.problems import report_problems
from ..data.samples import load_samples
from .collected import Annotated, Collected, read_limited, split_of, split_of_folders

_LONGEST_SIDE = 1 << 32  # what a pixel's place or number can be; far more than any image has


def read_coco(source: Path, names: Sequence[str] | None) -> Collected:
    """SOURCE is a COCO file, or a folder with such files in it or below.

    Files that describe the same images are parts of one set (COCO's own instances and
    person_keypoints): their boxes are put together, equal ones once. Files without boxes (captions,
    lists of images alone) add nothing. The split is what the file's (or its folder's) name says:
    ...train..., ...val..., ...test... Classes are numbered by rising category id. Crowd regions are
    left out.
    """
    folder = source.parent if source.is_file() else source
    files = [source] if source.is_file() else sorted(source.rglob("*.json"))
    loaded = [(path, content) for path in files if (content := _load(path)) is not None]
    if not loaded:
        raise UserError(f"{source}: no JSON file with images and annotations, there or below")
    with_boxes = [(path, content) for path, content in loaded if _may_hold_boxes(path, content)]
    if not with_boxes:
        raise UserError(f"{source}: its JSON files hold no boxes ({loaded[0][0].name}, ...)")
    # Ids mean what their own file says: two files may number the same names in two ways.
    names_of = {path: _categories(path, content) for path, content in with_boxes}
    by_id = sorted({pair for table in names_of.values() for pair in table.items()})
    found = list(dict.fromkeys(name for _, name in by_id))
    collected = Collected(names=list(names) if names else found)
    for path, _ in (pair for pair in loaded if pair not in with_boxes):
        collected.note("files left out: no boxes in them", path)
    images: dict[Path, Annotated] = {}
    splits: dict[Path, str] = {}
    for path, content in with_boxes:
        for item in _read_file(collected, folder, path, content, names_of[path]):
            splits.setdefault(item.image, _split(path, folder))
            images[item.image] = _merged(collected, images.get(item.image), item)
    for image, item in images.items():
        collected.splits[splits[image]].append(item)
    return collected


def _split(path: Path, source: Path) -> str:
    spoken = split_of(path.stem)
    return spoken if spoken != "train" else split_of_folders(path, source)


def _merged(collected: Collected, known: Annotated | None, item: Annotated) -> Annotated:
    """One image's boxes out of two files; a box that stands in both counts once."""
    if known is None:
        return item
    collected.note("images described in several files: put together", item.image)
    rows = np.unique(np.concatenate((known.rows, item.rows)).round(9), axis=0)
    return replace(known, rows=rows)


def _may_hold_boxes(path: Path, content: Any) -> bool:
    """Not so captions, and lists of images alone. A set without any object is one all the same."""
    found = content["annotations"]
    if isinstance(found, list) and found:
        return any("bbox" in item for item in found if isinstance(item, dict))
    return not path.name.startswith("image_info")


def _categories(path: Path, content: Any) -> dict[int, str]:
    return {item["id"]: item["name"] for item in _list(content, "categories", path)}


def _read_file(
    collected: Collected, source: Path, path: Path, content: Any, names: dict[int, str]
) -> Iterator[Annotated]:
    by_image: defaultdict[int, list[Any]] = defaultdict(list)
    for item in _list(content, "annotations", path):
        by_image[item["image_id"]].append(item)
    for item in progress_bar(_list(content, "images", path), f"reading {path.name}", "img"):
        image = _image(source, path, item["file_name"])
        if image is None:
            collected.note("images left out: no such file", item["file_name"])
            continue
        hw = collected.size_of(image, (_side(item, "height"), _side(item, "width")))
        if hw is None:
            continue
        boxes = []
        for found in by_image[item["id"]]:
            number = collected.number_of(names.get(found["category_id"], ""))
            if found.get("iscrowd"):
                collected.note("boxes left out: crowd regions", image)
            elif number is None:
                collected.note("boxes left out: their class is not among the names", image)
            else:
                x, y, w, h = (float(v) for v in found["bbox"])
                boxes.append((number, x, y, x + w, y + h))
        yield Annotated(image, hw, collected.boxes(boxes, hw, image))


def _load(path: Path) -> Any | None:
    """The content of a COCO file; None for JSON of another kind."""
    try:
        content = parsed_json(read_limited(path, "a COCO annotation file"))
    except (ValueError, RecursionError):
        raise UserError(f"{path}: not JSON") from None
    is_coco = isinstance(content, dict) and {"images", "annotations"} <= content.keys()
    return content if is_coco else None


def _side(image: dict[str, Any], key: str) -> int:
    """A side that an image states; 0, as unsaid, for what is none."""
    stated = image.get(key)
    return int(stated) if isinstance(stated, int | float) and 0 < stated < _LONGEST_SIDE else 0


def _list(content: Any, key: str, path: Path) -> list[Any]:
    """A list of objects that have what such objects need. Raises UserError."""
    needed = {
        "categories": ("id", "name"),
        "images": ("id", "file_name"),
        "annotations": ("image_id", "category_id", "bbox"),
    }[key]
    items = content.get(key, [])
    for place, item in enumerate(items if isinstance(items, list) else [None]):
        if not isinstance(item, dict) or not all(k in item for k in needed):
            raise UserError(f"{path}: {key}[{place}] needs {', '.join(needed)}")
        for part in needed:
            _require_kind(path, f"{key}[{place}]", part, item)
    return list(items)


def _require_kind(path: Path, where: str, part: str, item: dict[str, Any]) -> None:
    """Raise UserError for a part of another kind; whole numbers as text are taken as numbers.

    What is one id in two spellings must be equal: ids are looked up as they are from here on.
    """
    value = item[part]
    if part.endswith("id"):
        try:
            item[part] = int(value)
            fits = isinstance(value, int | str) or value == item[part]
            fits = fits and not isinstance(value, bool)
        except (TypeError, ValueError):
            fits = False
        wanted = "a whole number"
    elif part == "bbox":
        fits = isinstance(value, list) and len(value) == 4
        fits = fits and all(type(v) in (int, float) and abs(v) < _LONGEST_SIDE for v in value)
        wanted = "four numbers"
    elif isinstance(value, int) and part == "name":
        item[part], fits, wanted = str(value), True, ""
    else:
        fits, wanted = isinstance(value, str), "text"
    if not fits:
        raise UserError(f"{path}: {where}: {part} must be {wanted}")


def _image(source: Path, path: Path, name: str) -> Path | None:
    """Beside the JSON file, in SOURCE, or in one of the folders there; never above them."""
    relative = Path(name.replace("\\", "/").replace("\0", "?"))
    if relative.is_absolute() or ".." in relative.parts:
        relative = Path(relative.name)
    folders = [path.parent, source]
    for near in (path.parent, source, source / "images"):
        folders += sorted(p for p in near.glob("*") if p.is_dir())
    # val2017 for instances_val2017.json comes before train2017.
    folders.sort(key=lambda folder: folder.name not in path.stem)
    places = (folder / relative for folder in folders)
    return next((place for place in places if exists(place) and place.is_file()), None)


def write_coco(data: Path, split: str, target: Path) -> dict[str, int]:
    """A list of a .data file as COCO's JSON; image ids count from 1 in the order of the list.

    Category ids are the classes' numbers from 1. Returns the counts of what was written.
    """
    spec = load_data_file(data)
    samples, problems = load_samples(spec.require(split), spec.nc)
    report_problems(data, problems, strict=False)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for sample in samples:
        height, width = sample.image_hw
        images.append(
            {"id": len(images) + 1, "file_name": sample.path.name, "height": height, "width": width}
        )
        for label, xc, yc, w, h in sample.labels.astype(float).tolist():
            box = [(xc - w / 2) * width, (yc - h / 2) * height, w * width, h * height]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": int(label) + 1,
                    "bbox": [round(v, 3) for v in box],
                    "area": round(box[2] * box[3], 3),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": k, "name": name} for k, name in enumerate(spec.names, 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    with atomic_write(target) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
    return {"images": len(images), "boxes": len(annotations), "classes": len(categories)}
