"""Which images make up the batches of an epoch, and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from ..command.errors import UserError
from .dataset import DetectionDataset, Draw
from .images import Size

_SAMPLER_STREAM = 2  # keeps the order's random numbers apart from those of items
RECT_STRIDE = 32


class EpochBatches(Sampler[list[Draw]]):
    """Batches of draws; the order depends on (seed, epoch) alone.

    weights (n,): images are drawn with replacement, with these relative probabilities. A rect data
    set keeps the same batches in every epoch; shuffling then only changes their order. share
    (rank, of): every batch is dealt out to that many processes, and this is what one of them gets.
    """

    def __init__(
        self,
        dataset: DetectionDataset,
        batch_size: int,
        shuffle: bool,
        drop_last: bool = False,
        weights: Sequence[float] | npt.NDArray[np.float64] | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        if weights is not None and dataset.rect:
            raise UserError("weighted sampling does not go with rectangular batches")
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.share = share
        self.epoch = 0
        self.mosaic = True
        self._probabilities = None if weights is None else _probabilities(weights, len(dataset))
        self._rect = _rect_batches(dataset, batch_size) if dataset.rect else None

    def __len__(self) -> int:
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[list[Draw]]:
        # Not a generator: the epoch counts at the moment of the call.
        rank, world = self.share
        batches = self._rect_draws() if self._rect else self._draws()
        return iter([batch[rank::world] for batch in batches])

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng((_SAMPLER_STREAM, self.dataset.seed, self.epoch))

    def _draws(self) -> list[list[Draw]]:
        count = len(self.dataset)
        order = np.arange(count)
        if self._probabilities is not None:
            order = self._rng().choice(count, size=count, p=self._probabilities)
        elif self.shuffle:
            order = self._rng().permutation(count)
        seen: Counter[int] = Counter()
        draws = []
        for index in order.tolist():
            draws.append(Draw(index, self.epoch, seen[index], self.mosaic))
            seen[index] += 1
        starts = range(0, len(self) * self.batch_size, self.batch_size)
        return [draws[start : start + self.batch_size] for start in starts]

    def _rect_draws(self) -> list[list[Draw]]:
        batches = [batch for batch in self._rect or [] if self._counts(batch[0])]
        if self.shuffle:
            batches = [batches[place] for place in self._rng().permutation(len(batches))]
        return [
            [Draw(index, self.epoch, 0, self.mosaic, net_hw) for index in indices]
            for indices, net_hw in batches
        ]

    def _counts(self, indices: list[int]) -> bool:
        return len(indices) == self.batch_size or not self.drop_last


def _probabilities(
    weights: Sequence[float] | npt.NDArray[np.float64], count: int
) -> npt.NDArray[np.float64]:
    values = np.asarray(weights, np.float64)
    if values.shape != (count,) or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"weights: {count} finite numbers >= 0 expected, got shape {values.shape}")
    if values.sum() <= 0:
        raise ValueError("weights: at least one must be above 0")
    return np.asarray(values / values.sum())


def _rect_batches(dataset: DetectionDataset, batch_size: int) -> list[tuple[list[int], Size]]:
    """Images sorted by height / width and cut into batches, each of the smallest common size.

    Sizes are multiples of the stride; the images keep the scale that they have within `img_size`.
    """
    sizes = np.array([dataset.content_size(index) for index in range(len(dataset))])  # (n, 2)
    order = np.argsort(sizes[:, 0] / sizes[:, 1], kind="stable")
    batches = []
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        height, width = -(-sizes[indices].max(axis=0) // RECT_STRIDE) * RECT_STRIDE
        batches.append((indices.tolist(), (int(height), int(width))))
    return batches
