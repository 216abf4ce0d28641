"""What `--source` names: pictures, videos, cameras and streams. Nothing is opened here."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..command.errors import UserError
from ..data.darknet_files import MAX_PATH_CHARACTERS, exists, load_list

IMAGE_SUFFIXES = frozenset(
    (".bmp", ".dib", ".jfif", ".jpeg", ".jpg", ".jpe", ".jp2", ".png", ".pbm", ".pgm", ".ppm",
     ".tif", ".tiff", ".webp")
)  # fmt: skip
VIDEO_SUFFIXES = frozenset(
    (".avi", ".asf", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
     ".ogv", ".ts", ".webm", ".wmv", ".3gp")
)  # fmt: skip

Kind = Literal["image", "video", "live"]


@dataclass(frozen=True)
class Source:
    """One picture, video file, or live stream (a camera's number, or a URL)."""

    place: str
    kind: Kind

    @property
    def stem(self) -> str:
        """A name for what is made of it."""
        if self.kind != "live":
            return Path(self.place).stem
        if self.place.isdigit():
            return f"camera{self.place}"
        words = self.place.partition("://")[2]
        return "".join(c if c.isalnum() else "-" for c in words).strip("-")[:60] or "stream"


def find_sources(text: str) -> list[Source]:
    """The sources that a `--source` names, in order.

    A number is a camera, something with `://` a stream, a .txt file a list, a folder all pictures
    and videos in it (or, where it has none, below it), `*` and `?` a pattern. Raises UserError when
    that is nothing.
    """
    if text.isdigit() or "://" in text:
        return [Source(text, "live")]
    path = Path(text)
    if len(text) > MAX_PATH_CHARACTERS or not text:
        raise UserError("--source: not a path")
    if exists(path) and path.is_dir():
        files = sorted(p for p in path.iterdir() if p.is_file())
        # A data set's folder of images holds folders of them.
        below = [] if any(map(_known, files)) else sorted(p for p in path.rglob("*") if p.is_file())
        return _all_of(text, below or files)
    if exists(path):
        if path.suffix.lower() == ".txt":
            return [_source(entry) for _, entry in load_list(path)]
        return [_source(path)]
    if glob.has_magic(text):
        # Path.glob takes no absolute pattern.
        paths = sorted(glob.glob(text, recursive=True))  # noqa: PTH207
        return _all_of(text, [Path(p) for p in paths])
    raise UserError(f"--source {text}: no such file, folder or camera")


def _source(path: Path) -> Source:
    return Source(str(path), "video" if path.suffix.lower() in VIDEO_SUFFIXES else "image")


def _known(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES


def _all_of(text: str, paths: list[Path]) -> list[Source]:
    known = [p for p in paths if _known(p)]
    if not known:
        what = "there is no picture or video" if paths else "nothing is there"
        raise UserError(f"--source {text}: {what}")
    return [_source(path) for path in known]
