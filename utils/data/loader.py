"""Batches, made by worker processes or in this one; the batches do not depend on which."""

from __future__ import annotations

import logging
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset

from ..command.errors import UserError
from .dataset import DetectionDataset, Draw, Item
from .images import Size
from .letterbox import Geometry
from .problems import Problem, report_problems
from .sampler import EpochBatches

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """Network inputs of one size.

    images: uint8 (B, C, h, w), RGB for 3, channels-last in memory. targets: float32 (T, 6),
    position in the batch, class, xc, yc, w, h normalised to the input. geometries and indices (into
    the data set's `samples`) have one entry per image; unreadable ones were left out, see
    `problems`.
    """

    images: torch.Tensor
    targets: torch.Tensor
    geometries: list[Geometry]
    indices: list[int]
    problems: tuple[Problem, ...] = ()

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on `device`; pinned memory is copied asynchronously."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
        )

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory (called by torch's DataLoader)."""
        return replace(self, images=self.images.pin_memory(), targets=self.targets.pin_memory())


def collate(items: Sequence[Item], problems: Sequence[Problem] = ()) -> Batch:
    """A batch of items of one size; of none, an empty batch with images (0, 3, 0, 0)."""
    channels, h, w = items[0].image.shape if items else (3, 0, 0)
    pixels = torch.empty((len(items), h, w, channels), dtype=torch.uint8)
    for place, item in zip(pixels, items, strict=True):
        place.copy_(item.image.permute(1, 2, 0))
    counts = torch.tensor([len(item.labels) for item in items], dtype=torch.int64)
    position = torch.arange(len(items)).repeat_interleave(counts).float()
    labels = torch.cat([item.labels for item in items]) if items else torch.zeros((0, 5))
    return Batch(
        images=pixels.permute(0, 3, 1, 2),
        targets=torch.cat((position[:, None], labels), dim=1),
        geometries=[item.geometry for item in items],
        indices=[item.index for item in items],
        problems=tuple(problems),
    )


def resize_batch(batch: Batch, size: Size) -> Batch:
    """The batch stretched to `size` (height, width); the normalised targets stay as they are."""
    if tuple(batch.images.shape[2:]) == size:
        return batch
    images = interpolate(batch.images, size, mode="bilinear", antialias=True, align_corners=False)
    return replace(
        batch,
        images=images.contiguous(memory_format=torch.channels_last),
        geometries=[geometry.resized(size) for geometry in batch.geometries],
    )


class Loader:
    """Iterates over the batches of the current epoch; `set_epoch` comes before each epoch.

    Unreadable images found on the way are told in one warning at the end of the epoch (the first
    that finds them), or, for a strict data set, raise UserError at once; `problems` has them all.
    """

    def __init__(self, dataset: DetectionDataset, batches: EpochBatches, workers: int) -> None:
        self.dataset = dataset
        self.batches = batches
        self.workers = workers
        self.problems: tuple[Problem, ...] = ()
        self._loader = DataLoader(
            _BatchSource(dataset),
            batch_size=None,
            sampler=batches,  # a whole batch travels as one "index"
            num_workers=workers,
            collate_fn=_unchanged,
            worker_init_fn=_start_worker,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            multiprocessing_context=_context() if workers else None,
            generator=torch.Generator(),  # the global generator stays untouched
        )

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        known = {*self.dataset.problems, *self.problems}
        new: dict[Problem, None] = {}  # an ordered set
        try:
            for batch in self._loader:
                fresh = [problem for problem in batch.problems if problem not in known]
                new.update(dict.fromkeys(fresh))
                if self.dataset.strict:
                    report_problems(self.dataset.source, fresh, strict=True)
                if batch.indices:
                    yield batch
                elif self.batches.shuffle and self.batches.share[1] > 1:
                    # The other processes would wait for this one's gradients for ever.
                    raise UserError(
                        f"{self.dataset.source}: no image of this process's share of a batch "
                        f"opens: {'; '.join(str(problem) for problem in batch.problems[:2])}"
                    )
        finally:
            self.problems += tuple(new)
            if not self.dataset.strict:
                report_problems(self.dataset.source, list(new), strict=False)

    def set_epoch(self, epoch: int, mosaic: bool = True) -> None:
        """Choose order and random changes of the next iteration; mosaic=False closes mosaic."""
        self.batches.epoch = epoch
        self.batches.mosaic = mosaic


def make_loader(
    dataset: DetectionDataset,
    batch_size: int,
    workers: int = 0,
    shuffle: bool = False,
    drop_last: bool = False,
    weights: Sequence[float] | npt.NDArray[np.float64] | None = None,
    share: tuple[int, int] = (0, 1),
) -> Loader:
    """Batches of `dataset`; see EpochBatches for the order. workers=0 loads in this process."""
    batches = EpochBatches(dataset, batch_size, shuffle, drop_last, weights, share)
    return Loader(dataset, batches, workers)


class _BatchSource(Dataset[Batch]):
    """Maps a list of draws to their batch, so that a worker sends one object per batch."""

    def __init__(self, dataset: DetectionDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, draws: list[Draw]) -> Batch:
        fetched = [self._dataset.fetch(draw) for draw in draws]
        items = [item for item, _ in fetched if item is not None]
        return collate(items, [problem for _, problems in fetched for problem in problems])


def _unchanged(batch: Any) -> Any:
    return batch


def _start_worker(_: int) -> None:
    # The workers are the parallelism; threads inside them only compete.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _context() -> multiprocessing.context.BaseContext:
    """Forked workers share a RAM cache without copies; off Linux, the system's own way."""
    return multiprocessing.get_context("fork" if sys.platform == "linux" else None)
