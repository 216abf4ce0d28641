"""Videos, frame by frame: files, cameras and streams are read, files are written."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ..command.errors import UserError
from ..data.pixels import ByteArray
from .detections import Picture

_DEFAULT_FPS = 25.0  # of cameras that do not say
_MAX_FPS = 1000.0  # more is a header that means something else


class UnreadableVideoError(Exception):
    """A video that cannot be read; the text is the reason, without the place."""


class Video:
    """An opened video or stream: its frames, one by one, as RGB (h, w, 3).

    `place` is a file or, where it is `live`, a camera's number or a stream's URL. Raises
    UnreadableVideoError when it does not open. Close it when done.
    """

    def __init__(self, place: str, live: bool = False) -> None:
        camera = live and place.isdigit()
        self._capture = cv2.VideoCapture(int(place) if camera else place)
        if not self._capture.isOpened():
            what = "no such camera" if camera else "not a video or picture that OpenCV opens"
            raise UnreadableVideoError(what)
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps < _MAX_FPS else _DEFAULT_FPS
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        # What the header says; a live source says nothing of use.
        self.length = int(count) if not live and 0 < count < 1e12 else None

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


class VideoFile:
    """A video under way: written beside its name, and given it by `finish`."""

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        """`size` is (height, width). Raises UserError when OpenCV cannot write such a video."""
        self.path = path
        self.frames = 0
        self._size = size
        self._temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
        code = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(str(self._temporary), code, fps, (size[1], size[0]))
        if not self._writer.isOpened():
            self.discard()
            raise UserError(f"{path}: this OpenCV cannot write MP4 videos of {size[1]}x{size[0]}")

    def add(self, picture: Picture) -> None:
        """One more frame, RGB; a stream that changes its size is brought to the first one."""
        if picture.shape[:2] != self._size:
            picture = np.asarray(cv2.resize(picture, self._size[::-1]), np.uint8)
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self.frames += 1

    def finish(self) -> None:
        """Close the file and put it in place."""
        self._writer.release()
        self._temporary.replace(self.path)

    def discard(self) -> None:
        """Close it and leave nothing."""
        self._writer.release()
        self._temporary.unlink(missing_ok=True)
