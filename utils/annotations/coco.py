"""COCO's JSON: read into our layout, and written from it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..command.errors import UserError
from ..command.files import atomic_write
from ..command.progress import progress_bar
from ..data.darknet_files import load_data_file
from ..data.problems import report_problems
from ..data.samples import load_samples
from .collected import Annotated, Collected, read_limited, split_of

_DEPTH = ("*.json", "*/*.json")


def read_coco(source: Path, names: Sequence[str] | None) -> Collected:
    """All JSON files in SOURCE and the folders in it that hold `images` and `annotations`.

    The split is what the file's (or its folder's) name says: ...train..., ...val..., ...test...
    Classes are numbered by rising category id. Crowd regions are left out.
    """
    files = [p for pattern in _DEPTH for p in sorted(source.glob(pattern))]
    loaded = [(path, content) for path in files if (content := _load(path)) is not None]
    if not loaded:
        raise UserError(f"{source}: no JSON file with images and annotations, there or one below")
    categories: dict[int, str] = {}
    for path, content in loaded:
        for item in _list(content, "categories", path):
            categories[int(item["id"])] = str(item["name"])
    kept = {k: v for k, v in sorted(categories.items()) if names is None or v in names}
    collected = Collected(names=list(names) if names else list(kept.values()))
    number = {k: collected.names.index(v) for k, v in kept.items()}
    for path, content in loaded:
        _read_file(collected, source, path, content, number)
    return collected


def _read_file(
    collected: Collected, source: Path, path: Path, content: Any, number: dict[int, int]
) -> None:
    by_image: defaultdict[int, list[Any]] = defaultdict(list)
    for item in _list(content, "annotations", path):
        by_image[int(item["image_id"])].append(item)
    split = split_of(path.stem if split_of(path.stem) != "train" else f"{path.parent.name}")
    for item in progress_bar(_list(content, "images", path), f"reading {path.name}", "img"):
        image = _image(source, path, str(item["file_name"]))
        if image is None:
            collected.note("images left out: no such file", item["file_name"])
            continue
        stated = (int(item.get("height") or 0), int(item.get("width") or 0))
        hw = collected.size_of(image, stated)
        if hw is None:
            continue
        boxes = []
        for found in by_image[int(item["id"])]:
            if found.get("iscrowd"):
                collected.note("boxes left out: crowd regions", image)
            elif int(found["category_id"]) not in number:
                collected.note("boxes left out: their class is not among the names", image)
            else:
                x, y, w, h = (float(v) for v in found["bbox"])
                boxes.append((number[int(found["category_id"])], x, y, x + w, y + h))
        collected.splits[split].append(Annotated(image, hw, collected.boxes(boxes, hw, image)))


def _load(path: Path) -> Any | None:
    """The content of a COCO file; None for JSON of another kind."""
    try:
        content = json.loads(read_limited(path, "a COCO annotation file"))
    except (ValueError, RecursionError):
        raise UserError(f"{path}: not JSON") from None
    is_coco = isinstance(content, dict) and {"images", "annotations"} <= content.keys()
    return content if is_coco else None


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
        if key == "annotations" and (not isinstance(item["bbox"], list) or len(item["bbox"]) != 4):
            raise UserError(f"{path}: annotations[{place}]: bbox must be four numbers")
    return list(items)


def _image(source: Path, path: Path, name: str) -> Path | None:
    """Beside the JSON file, in SOURCE, or in one of the folders there; never above them."""
    relative = Path(name.replace("\\", "/"))
    if relative.is_absolute() or ".." in relative.parts:
        relative = Path(relative.name)
    folders = [path.parent, source, *sorted(p for p in source.iterdir() if p.is_dir())]
    folders += sorted(p for p in (source / "images").glob("*") if p.is_dir())
    # val2017 for instances_val2017.json comes before train2017.
    folders.sort(key=lambda folder: folder.name not in path.stem)
    return next((f / relative for f in folders if (f / relative).is_file()), None)


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
