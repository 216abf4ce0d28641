"""What `--source` names: pictures and videos, opened one after the other, one frame at a time."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from ..command.errors import UserError
from ..data.darknet_files import MAX_PATH_CHARACTERS, exists, load_list
from ..data.images import UnreadableImageError, read_image
from ..data.pixels import ByteArray

IMAGE_SUFFIXES = frozenset(
    (".bmp", ".dib", ".jfif", ".jpeg", ".jpg", ".jpe", ".jp2", ".png", ".pbm", ".pgm", ".ppm",
     ".tif", ".tiff", ".webp")
)  # fmt: skip
VIDEO_SUFFIXES = frozenset(
    (".avi", ".asf", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
     ".ogv", ".ts", ".webm", ".wmv", ".3gp")
)  # fmt: skip
_DEFAULT_FPS = 25.0  # of cameras that do not say
_MAX_FPS = 1000.0  # more is a header that means something else

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


class SourceError(Exception):
    """A source or frame that cannot be read; the text is the reason, without the place."""


def find_sources(text: str) -> list[Source]:
    """The sources that a `--source` names, in order.

    A number is a camera, something with `://` a stream, a .txt file a list, a folder all pictures
    and videos in it, `*` and `?` a pattern. Raises UserError when that is nothing.
    """
    if text.isdigit() or "://" in text:
        return [Source(text, "live")]
    path = Path(text)
    if len(text) > MAX_PATH_CHARACTERS or not text:
        raise UserError("--source: not a path")
    if exists(path) and path.is_dir():
        return _all_of(text, sorted(p for p in path.iterdir() if p.is_file()))
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


def _all_of(text: str, paths: list[Path]) -> list[Source]:
    known = [p for p in paths if p.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES]
    if not known:
        what = "there is no picture or video" if paths else "nothing is there"
        raise UserError(f"--source {text}: {what}")
    return [_source(path) for path in known]


class Video:
    """An opened video or stream: its frames, one by one, as RGB (h, w, 3).

    Raises SourceError when it does not open. Close it when done.
    """

    def __init__(self, source: Source) -> None:
        live_camera = source.kind == "live" and source.place.isdigit()
        self._capture = cv2.VideoCapture(int(source.place) if live_camera else source.place)
        if not self._capture.isOpened():
            what = "no such camera" if live_camera else "not a video or picture that OpenCV opens"
            raise SourceError(what)
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps < _MAX_FPS else _DEFAULT_FPS
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        # What the header says; a live source says nothing of use.
        self.length = int(count) if source.kind == "video" and 0 < count < 1e12 else None

    def frames(self) -> Iterator[ByteArray | None]:
        """Each frame in turn; None for one that is there but does not decode."""
        while self._capture.grab():
            ok, frame = self._capture.retrieve()
            if not ok or frame is None or frame.size == 0:
                yield None
            else:
                yield np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)

    def close(self) -> None:
        """Let the file or camera go."""
        self._capture.release()


def load_picture(source: Source) -> ByteArray:
    """The picture, RGB (h, w, 3). Raises SourceError."""
    try:
        return read_image(Path(source.place))
    except UnreadableImageError as error:
        raise SourceError(str(error)) from None
