"""Images that are scored again and again: loaded once, and kept."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ...command.errors import UserError
from ...data.dataset import DetectionDataset
from ...data.letterbox import unit_range
from ...data.loader import Batch, make_loader


class Held:
    """All batches of a data set, in order; what evaluation takes for a loader."""

    def __init__(self, images: DetectionDataset, batch_size: int, workers: int) -> None:
        """Raises UserError where no image opens."""
        self.dataset = images
        self._batches = list(make_loader(images, batch_size, workers))
        if not self._batches:
            raise UserError(f"{images.source}: none of its images opens")

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def images(self) -> int:
        """How many there are."""
        return sum(len(batch.images) for batch in self._batches)

    def inputs(self, device: torch.device) -> list[Tensor]:
        """What the network is fed: (B, C, H, W) in 0..1 on the device, of each batch."""
        return [unit_range(batch.images.to(device)) for batch in self._batches]

    def targets(self, device: torch.device) -> list[Tensor]:
        """(T, 6) of each batch, as the loss takes them."""
        return [batch.targets.to(device) for batch in self._batches]
