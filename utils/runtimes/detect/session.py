"""Every source through the detector, its results to the output folder, one after the other."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from ...command.errors import UserError
from ...command.progress import progress_bar
from ...data.detections import Detections
from ...data.images import UnreadableImageError, read_image
from ...data.pixels import ByteArray
from ...detection.detector import Detector
from ...detection.outputs import (
    frame_record,
    label_text,
    save_json,
    save_picture,
    save_text,
    unique_stems,
)
from ...detection.results import Milliseconds
from ...detection.sources import Source
from ...pictures.detections import Picture, draw_detections
from ...pictures.video import UnreadableVideoError, Video, VideoFile
from .options import Keep
from .tally import Tally

LABELS, JSON_NAME = "labels", "detections.json"
_WINDOW = "darkslim (q ends)"
_ESCAPE = 27


class StoppedError(Exception):
    """The user closed the window or pressed q."""


class Session:
    """One run; `tally` names a folder that is there and free, and is counted on in."""

    def __init__(self, detector: Detector, tally: Tally, keep: Keep) -> None:
        self.detector = detector
        self.tally = tally
        self.folder: Path = tally.folder
        self.names = tally.names
        self.keep = keep
        self._records: list[dict[str, Any]] = []

    def all(self, sources: Sequence[Source]) -> Tally:
        """Each source in turn; what cannot be read is reported and skipped.

        Raises UserError when nothing at all could be read.
        """
        bar = progress_bar(sources, "detecting", "source", show=len(sources) > 1)
        try:
            for source, stem in zip(bar, unique_stems(sources), strict=True):
                try:
                    line = self._one(source, stem)
                except (UnreadableImageError, UnreadableVideoError) as error:
                    self._problem(f"{source.place}: {error}")
                    continue
                self.tally.sources += 1
                tqdm.write(line, file=sys.stdout)
        except StoppedError:
            pass
        if not self.tally.frames:
            rest = len(self.tally.problems) - 1
            more = f" (and {rest} more, none of them readable)" if rest > 0 else ""
            raise UserError(f"--source {self.tally.problems[0]}{more}")
        if self.keep.json:
            save_json(self.folder / JSON_NAME, self.names, self._records)
        return self.tally

    def _one(self, source: Source, stem: str) -> str:
        """One source, and what to say about it."""
        if source.kind == "image":
            return self._picture(source, stem)
        video = Video(source.place, live=source.kind == "live")
        try:
            return self._video(source, stem, video)
        finally:
            video.close()

    def _picture(self, source: Source, stem: str) -> str:
        picture = read_image(Path(source.place))
        channels = self.detector.channels
        seen = picture if channels == 3 else read_image(Path(source.place), channels=channels)
        found, drawn, ms = self._detect(source, None, picture, stem, seen)
        target = save_picture(self.folder, stem, source, drawn)
        times = ", ".join(f"{part} {value:.1f}" for part, value in ms._asdict().items())
        size = f"{picture.shape[1]}x{picture.shape[0]}"
        return f"{source.place} ({size}): {self._said(found)}; ms: {times} -> {target}"

    def _video(self, source: Source, stem: str, video: Video) -> str:
        """A live source ends with Ctrl-C or q; what was written until then stays."""
        out: VideoFile | None = None
        drawn: Picture | None = None
        missed = done = 0
        try:
            frames = progress_bar(video.frames(), source.stem, "frame", video.length)
            for number, frame in enumerate(frames):
                if frame is None:
                    missed += 1
                else:
                    seen = self._seen(frame)
                    _, drawn, _ = self._detect(source, number, frame, f"{stem}_{number:06d}", seen)
                    done += 1
                if drawn is None:
                    continue
                if out is None:
                    hw = drawn.shape[:2]
                    out = VideoFile(self.folder / f"{stem}.mp4", video.fps, (hw[0], hw[1]))
                # A frame that does not decode shows the one before it: the video keeps its time.
                out.add(drawn)
        except (KeyboardInterrupt, StoppedError):
            if source.kind != "live" or out is None:
                raise
            out.finish()
            return f"{source.place}: {done} frames, stopped -> {out.path}"
        else:
            return self._finished(source, video, out, done, missed)
        finally:
            if out is not None:
                out.discard()

    def _finished(
        self, source: Source, video: Video, out: VideoFile | None, done: int, missed: int
    ) -> str:
        if out is None:
            raise UnreadableVideoError("has no frame that decodes")
        if missed:
            self._problem(f"{source.place}: {missed} frames do not decode, skipped")
        if video.length is not None and done + missed < video.length:
            self._problem(
                f"{source.place}: ends after {done + missed} frames; its header says {video.length}"
            )
        out.finish()
        return f"{source.place}: {done} frames -> {out.path} ({out.frames} frames)"

    def _seen(self, frame: ByteArray) -> ByteArray:
        """A video's frame, RGB, as the network reads it. Raises UserError where it cannot."""
        channels = self.detector.channels
        if channels == 1:
            return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)[:, :, None]
        if channels != 3:
            raise UserError(f"a video has 3 channels, but the cfg asks for {channels}")
        return frame

    def _detect(
        self, source: Source, number: int | None, frame: ByteArray, stem: str, seen: ByteArray
    ) -> tuple[Detections, Picture, Milliseconds]:
        """`frame` is drawn on, `seen` is what the network gets of it."""
        found, ms = self.detector(seen)
        self.tally.frames += 1
        self.tally.times.append(ms)
        self.tally.found.update(found.classes.tolist())
        self.tally.empty += not len(found)
        self.tally.faint += self.detector.faint
        hw = frame.shape[0], frame.shape[1]
        if self.keep.txt:
            save_text(self.folder / LABELS / f"{stem}.txt", label_text(found, hw))
        if self.keep.json:
            record = frame_record(source, number, hw, found, self.names)
            self._records.append(record | {"ms": {k: round(v, 3) for k, v in ms._asdict().items()}})
        drawn = draw_detections(frame, found, self.names)
        if self.keep.view:
            self._show(drawn, waits=number is None)
        return found, drawn, ms

    def _show(self, picture: Picture, waits: bool) -> None:
        cv2.imshow(_WINDOW, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        if cv2.waitKey(0 if waits else 1) & 0xFF in (ord("q"), _ESCAPE):
            raise StoppedError

    def _said(self, found: Detections) -> str:
        counts = Counter(found.classes.tolist())
        said = ", ".join(f"{count} {self.names[label]}" for label, count in sorted(counts.items()))
        return said or "nothing found"

    def _problem(self, text: str) -> None:
        self.tally.problems.append(text)
        tqdm.write(f"skipped: {text}", file=sys.stderr)


def require_window() -> None:
    """Raise UserError where OpenCV cannot open windows."""
    try:
        cv2.namedWindow(_WINDOW)
    except cv2.error:
        raise UserError(
            "--view: this OpenCV has no windows (opencv-python-headless); look at the files in "
            "--output, or install opencv-python in its place"
        ) from None
