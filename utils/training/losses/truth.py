"""The targets of a batch, in the two forms that losses need."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...detection.boxes import xywh_to_xyxy


@dataclass(frozen=True)
class Truth:
    """The targets of a batch: rows (T, 6), and boxes (B, most, 4) xyxy in pixels, 0 where none.

    numbers (B, most): the row of each of these boxes. sure (T,): how sure each target is (0..1),
    where it is a teacher's; None is certain. DflLoss heeds it.
    """

    rows: Tensor
    boxes_px: Tensor
    numbers: Tensor
    img_hw: tuple[int, int]
    sure: Tensor | None = None

    @staticmethod
    def of_batch(
        targets: Tensor, images: int, img_hw: tuple[int, int], sure: Tensor | None = None
    ) -> Truth:
        """`targets` (T, 6): image, class, xc, yc, w, h, normalised to the input."""
        rows = targets.float()
        return Truth(rows, *_by_image(rows, images, img_hw), img_hw, sure)

    def full(self, device: torch.device) -> Tensor:
        """Width, height, width, height of the input in pixels (4,)."""
        height, width = self.img_hw
        return torch.tensor([width, height, width, height], device=device, dtype=torch.float32)


def _by_image(targets: Tensor, images: int, img_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The targets (T, 6) laid out per image: boxes (images, most, 4), row numbers (images, most).

    The boxes are xyxy in pixels; `most` is the largest number of targets in an image.
    """
    height, width = img_hw
    image = targets[:, 0].long()
    counts = torch.bincount(image, minlength=images)
    order = image.argsort(stable=True)
    first = counts.cumsum(0) - counts
    place = torch.arange(len(targets), device=targets.device) - first[image[order]]
    table = targets.new_zeros(images, int(counts.max()), 4)
    full = targets.new_tensor([width, height, width, height])
    table[image[order], place] = xywh_to_xyxy(targets[order, 2:6] * full)
    numbers = order.new_zeros(table.shape[:2])
    numbers[image[order], place] = order
    return table, numbers
