"""Label files of the YOLO family: a row is a box, a scored box, a pose, a turned box or a polygon.

| columns | meaning | becomes |
|---|---|---|
| 5 | class, box | the box |
| 6 | class, box, score between 0 and 1 | the box |
| 5 + key points, where the YAML gives `kpt_shape` | class, box, key points | the box |
| 9 | class, four corners (OBB, or a polygon of four points) | the upright box around them |
| 7, 11, 13, ... | class, points of a polygon | the upright box around them |

All numbers but the class and a key point's visibility are shares of the image. A polygon with a
number beyond 1 is none: key points of a set whose YAML does not say so look like that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..command.progress import progress_bar
from ..data.darknet_files import exists, read_text
from ..data.images import Size
from ..data.labels import MAX_LABEL_BYTES, ROUNDING, label_path, numbers_of
from .collected import Annotated, Collected

_OVER = 0.5 + ROUNDING  # tools draw polygons over the border; a visibility of 2 is farther out

Corners = tuple[float, float, float, float]  # x1, y1, x2, y2 as shares of the image


def read_images(
    collected: Collected, split: str, images: Sequence[Path], key_points: int = 0
) -> None:
    """Add images with the labels that lie where Darknet looks for them.

    `key_points`: columns behind the box in pose labels; 0: there are none.
    """
    for image in progress_bar(images, f"reading {split}", "img"):
        hw = collected.size_of(image)
        if hw is not None:
            rows = _rows(collected, label_path(image), hw, key_points)
            collected.splits[split].append(Annotated(image, hw, collected.boxes(rows, hw, image)))


def _rows(
    collected: Collected, path: Path, hw: Size, key_points: int
) -> Iterator[tuple[int, float, float, float, float]]:
    """Class, x1, y1, x2, y2 in pixels of each row that makes sense; the others are noted."""
    if not exists(path):
        return
    height, width = hw
    text = read_text(path, "a label file", MAX_LABEL_BYTES)
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            label, *values = numbers_of(line.split())
        except ValueError:
            label, values = -1.0, []
        known = label.is_integer() and 0 <= label < len(collected.names)
        corners, what = (
            corners_of(values, key_points) if known else (None, "not a class of the set")
        )
        if what:
            collected.note(what if corners else f"rows left out: {what}", f"{path}:{number}")
        if corners:
            x1, y1, x2, y2 = corners
            yield int(label), x1 * width, y1 * height, x2 * width, y2 * height


def corners_of(values: Sequence[float], key_points: int) -> tuple[Corners | None, str]:
    """The box of a row's numbers behind the class, and what to note of it.

    None, and the reason, for a row that is no box of any kind.
    """
    xs, ys = values[0::2], values[1::2]
    if len(values) == 4 or (key_points and len(values) == 4 + key_points):
        xc, yc, w, h = values[:4]
        return (xc - w / 2, yc - h / 2, xc + w / 2, yc + h / 2), ""
    if key_points:
        return None, f"{len(values) + 1} columns, where kpt_shape says 5 or {5 + key_points}"
    if len(values) == 5:
        if not 0 <= values[4] <= 1:
            return None, "a sixth column that is no score"
        return corners_of(values[:4], 0)
    if len(values) < 6 or len(values) % 2:
        return None, "not class and box, or class and polygon"
    if min(values) < -_OVER or max(values) > 1 + _OVER:
        return None, "points outside the image (key points? kpt_shape in the YAML says so)"
    return (min(xs), min(ys), max(xs), max(ys)), "polygons that became boxes"
