"""What detect.py leaves behind: pictures and videos with boxes, label files, one JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from ..command.errors import UserError
from ..command.files import atomic_write
from ..data.detections import Detections
from ..pictures.detections import Picture
from .sources import Source

_KEPT_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def unique_stems(sources: Sequence[Source]) -> list[str]:
    """A file name without suffix for each source; the second `a` is `a-2`."""
    used: set[str] = set()
    stems = []
    for source in sources:
        stem, number = source.stem, 1
        while stem.lower() in used:  # some file systems do not tell a from A
            number += 1
            stem = f"{source.stem}-{number}"
        used.add(stem.lower())
        stems.append(stem)
    return stems


def save_picture(folder: Path, stem: str, source: Source, picture: Picture) -> Path:
    """Write RGB (h, w, 3) in the source's own format, or as PNG where OpenCV cannot."""
    suffix = Path(source.place).suffix.lower()
    target = folder / f"{stem}{suffix if suffix in _KEPT_SUFFIXES else '.png'}"
    ok, data = cv2.imencode(target.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not ok:
        raise UserError(f"{target}: OpenCV cannot encode it")
    with atomic_write(target) as temporary:
        temporary.write_bytes(data.tobytes())
    return target


def label_text(found: Detections, hw: tuple[int, int]) -> str:
    """A line per box: class, centre, size in shares of the picture, score; best first."""
    height, width = hw
    lines = []
    for (x1, y1, x2, y2), score, label in found:
        centre, size = ((x1 + x2) / 2, (y1 + y2) / 2), (x2 - x1, y2 - y1)
        shares = (centre[0] / width, centre[1] / height, size[0] / width, size[1] / height)
        lines.append(f"{label} " + " ".join(f"{v:.6f}" for v in (*shares, score)) + "\n")
    return "".join(lines)


def save_text(path: Path, text: str) -> None:
    """Write a text file, and its folder where it is missing."""
    path.parent.mkdir(exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def frame_record(
    source: Source, frame: int | None, hw: tuple[int, int], found: Detections, names: Sequence[str]
) -> dict[str, Any]:
    """What the JSON file says of one picture or frame; boxes as x, y, width, height in pixels."""
    rows = [
        {
            "class": label,
            "name": names[label],
            "score": round(score, 6),
            "bbox": [round(v, 3) for v in (x1, y1, x2 - x1, y2 - y1)],
        }
        for (x1, y1, x2, y2), score, label in found
    ]
    place: dict[str, Any] = {"source": source.place}
    if frame is not None:
        place["frame"] = frame
    return {**place, "width": hw[1], "height": hw[0], "detections": rows}


def save_json(path: Path, names: Sequence[str], records: Sequence[dict[str, Any]]) -> None:
    """All records of a run in one file."""
    save_text(path, json.dumps({"names": list(names), "images": list(records)}, indent=1))
