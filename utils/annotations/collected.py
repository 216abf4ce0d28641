"""What every reader of annotations gives, and the counts of what it had to leave out."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..command.errors import UserError
from ..command.files import require_file
from ..data.images import Size, UnreadableImageError, image_size
from ..data.labels import MIN_SIDE

SPLITS = ("train", "valid", "test")
_SPLIT_WORDS = {
    "train": ("train", "training"),
    "valid": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
EXAMPLES = 3  # places told for each thing that was left out or changed
MAX_ANNOTATION_BYTES = 2 << 30  # COCO's largest file has half a gigabyte


@dataclass(frozen=True)
class Annotated:
    """An image and its boxes (n, 5): class, then xc, yc, w, h normalised to the image."""

    image: Path
    hw: Size
    rows: npt.NDArray[np.float64]


@dataclass
class Collected:
    """A data set under way: class names, images by split, and what was changed or left out."""

    names: list[str] = field(default_factory=list)
    splits: dict[str, list[Annotated]] = field(default_factory=lambda: {s: [] for s in SPLITS})
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    _numbers: dict[str, int] | None = None

    def number_of(self, name: str) -> int | None:
        """The class of this name, the first one of several; None where there is none."""
        if self._numbers is None:
            self._numbers = {each: k for k, each in reversed(list(enumerate(self.names)))}
        return self._numbers.get(name)

    def note(self, what: str, where: object) -> None:
        """Count something, and keep the first places where it was seen."""
        self.counts[what] += 1
        places = self.examples.setdefault(what, [])
        if len(places) < EXAMPLES and str(where) not in places:
            places.append(str(where))

    def size_of(self, image: Path, stated: Size | None = None) -> Size | None:
        """(height, width) that the boxes of an image are measured in; None where they cannot be.

        The image's own, or that of the copy that was annotated (`stated`) where it has the same
        shape: shares of the image are then the same. Of another shape, nobody knows what was cut
        off or turned: the image is left out. Each is noted.
        """
        try:
            size = image_size(image)
        except UnreadableImageError as error:
            self.note(f"images left out: {error}", image)
            return None
        if stated is None or min(stated) <= 0 or stated == size:
            return size
        # Rounding a side to whole pixels may change the shape by a pixel of either.
        if abs(size[0] * stated[1] - size[1] * stated[0]) <= max(size) + max(stated):
            self.note("images annotated at another size: boxes scaled", image)
            return stated
        self.note("images left out: annotated at another shape than they have", image)
        return None

    def boxes(
        self, corners: Iterable[tuple[int, float, float, float, float]], hw: Size, where: object
    ) -> npt.NDArray[np.float64]:
        """(n, 5) rows of boxes (class, x1, y1, x2, y2 in pixels), clipped; empty ones go."""
        height, width = hw
        rows = []
        for label, *given in corners:
            if not all(np.isfinite(given)):
                self.note("boxes left out: not finite", where)
                continue
            x1, y1, x2, y2 = given
            left, right = (min(max(x, 0), width) / width for x in (x1, x2))
            top, bottom = (min(max(y, 0), height) / height for y in (y1, y2))
            if right - left < MIN_SIDE or bottom - top < MIN_SIDE:
                self.note("boxes left out: no area in the image", where)
                continue
            if min(x1, y1) < 0 or x2 > width or y2 > height:
                self.note("boxes clipped to the image", where)
            rows.append((label, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top))
        return np.array(rows, np.float64).reshape(-1, 5)

    def split_off_valid(self, share: float, seed: int) -> int:
        """Where nothing validates, draw a share of the training images; how many were drawn."""
        train = self.splits["train"]
        if self.splits["valid"] or len(train) < 2:
            return 0
        order = random.Random(seed).sample(range(len(train)), len(train))
        chosen = set(order[: max(1, round(share * len(train)))])
        self.splits["valid"] = [a for k, a in enumerate(train) if k in chosen]
        self.splits["train"] = [a for k, a in enumerate(train) if k not in chosen]
        return len(chosen)

    def require_images(self, source: Path) -> None:
        """Raise UserError when nothing usable was found."""
        if not any(self.splits.values()):
            why = next(iter(self.examples.items()), None)
            told = f" ({why[0]}, as {why[1][0]})" if why else ""
            raise UserError(f"{source}: no usable image in it{told}")


def split_of_folders(path: Path, source: Path) -> str:
    """The split that the folders of a file below SOURCE speak of; the innermost counts."""
    for folder in reversed(path.relative_to(source).parts[:-1]):
        for split, words in _SPLIT_WORDS.items():
            if folder.lower() in words:
                return split
    return "train"


def split_of(text: str) -> str:
    """The split that a file or folder name speaks of; train where it says nothing."""
    words = text.lower()
    if "val" in words:
        return "valid"
    return "test" if "test" in words else "train"


def read_limited(path: Path, what: str, max_bytes: int = MAX_ANNOTATION_BYTES) -> bytes:
    """A file's bytes. Raises UserError when it is missing or larger than such a file can be."""
    found = require_file(path, what)
    if found.stat().st_size > max_bytes:
        raise UserError(f"{found}: larger than {max_bytes >> 20} MiB, so it is not {what}")
    return found.read_bytes()
