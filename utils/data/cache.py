"""Resized images kept in RAM: all of a list at once, or what a bound has room for."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..command.progress import progress_bar
from .images import Size
from .pixels import ByteArray

FREE_SHARE = 0.25  # of the memory that is free when a training starts
DEFAULT_BOUND_MB = 512  # where nobody knows how much that is

logger = logging.getLogger(__name__)


class ImageCache:
    """Images of known sizes in one block of memory, shared by forked workers."""

    def __init__(self, sizes: Sequence[Size], channels: int = 3) -> None:
        lengths = [channels * h * w for h, w in sizes]
        self._channels = channels
        self._sizes = np.array(sizes, np.int64).reshape(-1, 2)
        self._starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        self._block: ByteArray = np.empty(int(self._starts[-1]), np.uint8)
        self._filled = np.zeros(len(sizes), np.bool_)

    def fill(self, load: Callable[[int], ByteArray | None]) -> None:
        """Store `load(index)` for every index; None leaves a gap. Decoding runs in threads."""
        indices = range(len(self._sizes))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            images = pool.map(lambda index: self._store(index, load(index)), indices)
            for _ in progress_bar(images, "caching images", "img", len(indices)):
                pass

    def get(self, index: int) -> ByteArray | None:
        """A read-only view (h, w, channels), or None where loading failed."""
        if not self._filled[index]:
            return None
        h, w = self._sizes[index]
        block = self._block[self._starts[index] : self._starts[index + 1]]
        view = block.reshape(h, w, self._channels)
        view.flags.writeable = False
        return view

    def _store(self, index: int, image: ByteArray | None) -> None:
        if image is not None and image.shape[:2] == tuple(self._sizes[index]):
            self._block[self._starts[index] : self._starts[index + 1]] = image.reshape(-1)
            self._filled[index] = True


class KeptImages:
    """The images that were read first, up to a bound of bytes; the others are read each time.

    Nothing is given up for what comes later: a training draws its images at random, and any of them
    is as likely as any other to be wanted next. Worker processes have a copy each, which grows by
    itself, so that each keeps its share of the bound.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._images: dict[int, ByteArray] = {}
        self.bytes = 0

    def get(self, index: int) -> ByteArray | None:
        """A read-only image (h, w, channels), or None for one that is not kept."""
        return self._images.get(index)

    def keep(self, index: int, image: ByteArray, processes: int = 1) -> None:
        """Remember an image, and make it read-only, if this process's share has room for it."""
        if self.bytes + image.nbytes <= self._most_bytes // processes:
            image.flags.writeable = False
            self._images[index] = image
            self.bytes += image.nbytes


def bound_bytes(asked_mb: int | None) -> int:
    """The bound of `KeptImages` in bytes: as asked, in MB, or a share of the free memory."""
    if asked_mb is not None:
        return asked_mb * 10**6
    free = free_memory_bytes()
    return DEFAULT_BOUND_MB * 10**6 if free is None else int(free * FREE_SHARE)


def fits_in_memory(sizes: Sequence[Size], source: str | Path, channels: int = 3) -> bool:
    """Whether images of `sizes` take at most half of the free memory; a warning when not."""
    needed = sum(channels * h * w for h, w in sizes)
    free = free_memory_bytes()
    if free is None or needed <= free // 2:
        return True
    logger.warning(
        "%s: caching needs %.1f GiB, more than half of the %.1f GiB free; reading from disk",
        source,
        needed / 2**30,
        free / 2**30,
    )
    return False


def free_memory_bytes() -> int | None:
    """Memory that this process may still take: the system's, or its container's if that is less."""
    known = [value for value in (_system_free(), _cgroup_free()) if value is not None]
    return min(known, default=None)


def _system_free() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _cgroup_free() -> int | None:
    """Control groups version 2; page cache counts as used, so this errs on the safe side."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        return None if limit == "max" else max(int(limit) - used, 0)
    except (OSError, ValueError):
        return None
