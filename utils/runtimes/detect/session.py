"""Every source through the detector, its results to the output folder, one after the other.

Pictures come in batches: the next ones are read, and the last ones drawn and written, in a thread
each while the network runs. What is found, written and said, and its order, are as of one by one.
"""

from __future__ import annotations

import itertools
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from ...command.errors import UserError
from ...command.machine.ahead import Ahead
from ...command.progress import progress_bar
from ...data.detections import Detections
from ...data.images import UnreadableImageError, read_image
from ...data.pixels import ByteArray
from ...detection.detector import Detector, Fitted, Found
from ...detection.outputs import (
    frame_record,
    label_text,
    save_json,
    save_picture,
    save_text,
    unique_stems,
)
from ...detection.sources import Source
from ...pictures.detections import Picture, draw_detections
from ...pictures.video import UnreadableVideoError, Video, VideoFile
from .options import Keep
from .tally import Tally

LABELS, JSON_NAME = "labels", "detections.json"
_WINDOW = "darkslim (q ends)"
_ESCAPE = 27
_HELD_BYTES = 256 << 20  # of pictures that wait for the network; one may lie above it


class StoppedError(Exception):
    """The user closed the window or pressed q."""


@dataclass(frozen=True)
class _Read:
    """A picture and what the network gets of it, or why it cannot be read."""

    source: Source
    stem: str
    picture: ByteArray
    fitted: Fitted | None
    error: UnreadableImageError | None = None

    @property
    def bytes(self) -> int:
        return self.picture.nbytes + (0 if self.fitted is None else self.fitted.image.nbytes)


Named = tuple[Source, str]
Outcome = tuple[Source, str | UnreadableImageError | UnreadableVideoError]  # a line, or why not


class Session:
    """One run; `tally` names a folder that is there and free, and is counted on in.

    batch_size: pictures per forward pass; a video's frames come one by one.
    """

    def __init__(self, detector: Detector, tally: Tally, keep: Keep, batch_size: int = 1) -> None:
        self.detector = detector
        self.tally = tally
        self.folder: Path = tally.folder
        self.names = tally.names
        self.keep = keep
        self.batch_size = batch_size
        self._records: list[dict[str, Any]] = []

    def all(self, sources: Sequence[Source]) -> Tally:
        """Each source in turn; what cannot be read is reported and skipped.

        Raises UserError when nothing at all could be read.
        """
        named = zip(sources, unique_stems(sources), strict=True)
        outcomes = progress_bar(
            self._outcomes(named), "detecting", "source", len(sources), show=len(sources) > 1
        )
        try:
            for source, said in outcomes:
                if isinstance(said, Exception):
                    self._problem(f"{source.place}: {said}")
                    continue
                self.tally.sources += 1
                tqdm.write(said, file=sys.stdout)
        except StoppedError:
            pass
        if not self.tally.frames:
            rest = len(self.tally.problems) - 1
            more = f" (and {rest} more, none of them readable)" if rest > 0 else ""
            raise UserError(f"--source {self.tally.problems[0]}{more}")
        if self.keep.json:
            save_json(self.folder / JSON_NAME, self.names, self._records)
        return self.tally

    def _outcomes(self, named: Iterable[Named]) -> Iterator[Outcome]:
        """What to say about each source, in their order."""
        for pictures, some in itertools.groupby(named, lambda one: one[0].kind == "image"):
            if pictures and not self.keep.view:
                yield from self._batched(some)
                continue
            for source, stem in some:
                try:
                    yield source, self._one(source, stem)
                except (UnreadableImageError, UnreadableVideoError) as error:
                    yield source, error

    def _batched(self, named: Iterable[Named]) -> Iterator[Outcome]:
        """Pictures, with a thread that reads ahead and one that draws and writes behind."""
        reads = Ahead(
            itertools.starmap(self._read, named), 2 * self.batch_size, _HELD_BYTES, _bytes
        )
        with ThreadPoolExecutor(1) as writer, reads as ready:
            waiting: deque[tuple[Source, Future[str] | UnreadableImageError]] = deque()
            for batch in _batches(ready, self.batch_size):
                found = iter(self.detector.found([r.fitted for r in batch if r.fitted]))
                yield from _done(waiting)  # of the batch before: no more than two are held
                for read in batch:
                    if read.error is not None:
                        waiting.append((read.source, read.error))
                        continue
                    one = next(found)
                    self._count(read.source, None, read.picture.shape, one)
                    waiting.append((read.source, writer.submit(self._write, read, one)))
            yield from _done(waiting)

    def _read(self, source: Source, stem: str) -> _Read:
        try:
            picture = read_image(Path(source.place))
            channels = self.detector.channels
            seen = picture if channels == 3 else read_image(Path(source.place), channels=channels)
        except UnreadableImageError as error:
            return _Read(source, stem, np.zeros((0, 0, 3), np.uint8), None, error)
        return _Read(source, stem, picture, self.detector.fit(seen))

    def _write(self, read: _Read, found: Found) -> str:
        """Leave a picture's files; what to say about it."""
        return self._saved(read, found, self._draw(read.picture, read.stem, found))

    def _saved(self, read: _Read, found: Found, drawn: Picture) -> str:
        target = save_picture(self.folder, read.stem, read.source, drawn)
        times = ", ".join(f"{part} {value:.1f}" for part, value in found.ms._asdict().items())
        size = f"{read.picture.shape[1]}x{read.picture.shape[0]}"
        said = self._said(found.boxes)
        return f"{read.source.place} ({size}): {said}; ms: {times} -> {target}"

    def _one(self, source: Source, stem: str) -> str:
        """One source, and what to say about it."""
        if source.kind == "image":
            return self._viewed(source, stem)
        video = Video(source.place, live=source.kind == "live")
        try:
            return self._video(source, stem, video)
        finally:
            video.close()

    def _viewed(self, source: Source, stem: str) -> str:
        """A picture that is shown before the next one is read."""
        read = self._read(source, stem)
        if read.error is not None or read.fitted is None:
            raise read.error or UnreadableImageError("cannot be read")
        (found,) = self.detector.found([read.fitted])
        self._count(source, None, read.picture.shape, found)
        drawn = self._draw(read.picture, stem, found)
        line = self._saved(read, found, drawn)
        self._show(drawn, waits=True)
        return line

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
                    found = self.detector(seen)
                    self._count(source, number, frame.shape, found)
                    drawn = self._draw(frame, f"{stem}_{number:06d}", found)
                    if self.keep.view:
                        self._show(drawn, waits=False)
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

    def _count(
        self, source: Source, number: int | None, shape: tuple[int, ...], found: Found
    ) -> None:
        """Add a picture, or frame `number`, of a shape (h, w, ...) to what the run says."""
        boxes, ms = found.boxes, found.ms
        self.tally.frames += 1
        self.tally.times.append(ms)
        self.tally.found.update(boxes.classes.tolist())
        self.tally.empty += not len(boxes)
        self.tally.faint += found.faint
        if self.keep.json:
            record = frame_record(source, number, (shape[0], shape[1]), boxes, self.names)
            self._records.append(record | {"ms": {k: round(v, 3) for k, v in ms._asdict().items()}})

    def _draw(self, frame: ByteArray, stem: str, found: Found) -> Picture:
        """The frame with its boxes; and its label file, where one is wanted."""
        if self.keep.txt:
            text = label_text(found.boxes, (frame.shape[0], frame.shape[1]))
            save_text(self.folder / LABELS / f"{stem}.txt", text)
        return draw_detections(frame, found.boxes, self.names)

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


def _bytes(read: _Read) -> int:
    return read.bytes


def _batches(reads: Iterator[_Read], size: int) -> Iterator[list[_Read]]:
    """`size` at a time, or fewer where they are large."""
    batch: list[_Read] = []
    for read in reads:
        batch.append(read)
        if len(batch) == size or sum(one.bytes for one in batch) >= _HELD_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def _done(waiting: deque[tuple[Source, Future[str] | UnreadableImageError]]) -> Iterator[Outcome]:
    """The outcomes of all that wait to be written, in their order."""
    while waiting:
        source, result = waiting.popleft()
        yield source, result.result() if isinstance(result, Future) else result


def require_window() -> None:
    """Raise UserError where OpenCV cannot open windows."""
    try:
        cv2.namedWindow(_WINDOW)
    except cv2.error:
        raise UserError(
            "--view: this OpenCV has no windows (opencv-python-headless); look at the files in "
            "--output, or install opencv-python in its place"
        ) from None
