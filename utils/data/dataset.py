"""Images and boxes ready for the network.

Everything random about an item follows from (seed, epoch, index): the same draw gives the same
pixels in any process, in any order, after any interruption.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from ..command.errors import UserError
from .augment import MOSAIC_TILES, Tile, augment_colour, augment_mosaic, augment_single
from .contents import Contents
from .images import Size, UnreadableImageError
from .labels import FloatArray
from .letterbox import Geometry, identity, pad
from .options import OUR_FEEDING, AugmentOptions, Feeding, Fit
from .pixels import ByteArray
from .problems import Problem, report_problems
from .samples import Sample, load_samples, samples_without_labels, without_label_files

logger = logging.getLogger(__name__)

_ITEM_STREAM = 1  # keeps the random numbers of items apart from the sampler's


class Draw(NamedTuple):
    """What to make of one image. It travels to the workers, which therefore share no state."""

    sample: int  # index into the data set's samples
    epoch: int = 0
    repeat: int = 0  # how often this sample came before in the epoch (weighted sampling)
    mosaic: bool = True  # False switches mosaic off, whatever the options say
    net_hw: Size | None = None  # None: the data set's img_size


@dataclass(frozen=True)
class Item:
    """One network input.

    image: uint8 (C, h, w), RGB for 3, channels-last in memory. labels: float32 (n, 5), class, xc,
    yc, w, h normalised to the network input. geometry: the way back to the original image; for an
    augmented item, which has none, the identity on the network input.
    """

    image: torch.Tensor
    labels: torch.Tensor
    geometry: Geometry
    index: int


class DetectionDataset(Dataset[Item]):
    """The images of a Darknet list, resized to `img_size` (height, width) and, if asked, augmented.

    fit: "letterbox" keeps the aspect ratio and pads with grey, "stretch" does not. cache: resized
    images stay in RAM when they fit in half of what is free. strict: any problem in the data is a
    UserError instead of a warning. rect: the loader makes batches of similar aspect ratio, with
    little padding. channels: as many as the network reads (see pixels.py). `samples` and `problems`
    tell what is used and what was left out; an image whose header is sound but whose pixels do not
    decode stays in `samples`, and the loader leaves it out. unlabelled: images whose labels nobody
    knows; their samples come last, from number `labelled` on, and no mosaic mixes them with others.
    keep_bytes: resized images stay in RAM as they come, up to so much (see cache.py). feeding: how
    images become input, without augmentation.
    """

    def __init__(
        self,
        list_path: str | Path,
        nc: int,
        img_size: Size,
        augment: AugmentOptions | None = None,
        fit: Fit = "letterbox",
        cache: bool = False,
        strict: bool = False,
        seed: int = 0,
        rect: bool = False,
        channels: int = 3,
        unlabelled: Sequence[Path] = (),
        keep_bytes: int = 0,
        feeding: Feeding = OUR_FEEDING,
    ) -> None:
        if rect and fit == "stretch":
            raise UserError("rectangular batches keep the aspect ratio: they need fit 'letterbox'")
        self.source = Path(list_path)
        self.nc = nc
        self.img_size = img_size
        self.augment = augment
        self.fit: Fit = fit
        self.strict = strict
        self.seed = seed
        self.rect = rect
        self.channels = channels
        self.feeding = feeding
        samples, problems = load_samples(list_path, nc)
        if without_label_files(samples):
            logger.warning("%s: none of its images has a label file; right path?", self.source)
        self.labelled = len(samples)
        more, unread = samples_without_labels(unlabelled)
        problems += unread
        self.samples: tuple[Sample, ...] = (*samples, *more)
        self._contents = Contents(self.samples, img_size, fit, channels, keep_bytes, feeding)
        self._boxes: dict[int, FloatArray] = {}  # of tiles: the same in every epoch
        unreadable = self._contents.cache(self.source) if cache else {}
        self.problems: tuple[Problem, ...] = (*problems, *unreadable.values())
        report_problems(self.source, self.problems, strict)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, draw: Draw | int) -> Item:
        """The item of a draw, or of an index in epoch 0; UserError when its image does not open."""
        if isinstance(draw, int):
            if not -len(self) <= draw < len(self):
                raise IndexError(draw)  # this ends a plain `for item in dataset`
            draw = Draw(draw % len(self))
        item, problems = self.fetch(draw)
        if item is None:
            raise UserError(str(problems[0]))
        return item

    def fetch(self, draw: Draw) -> tuple[Item | None, list[Problem]]:
        """The item, or None when its own image does not open; and which images did not open."""
        net_hw = draw.net_hw or self.img_size
        if self.augment is None:
            return self._plain(draw.sample, net_hw)
        rng = np.random.default_rng((_ITEM_STREAM, self.seed, draw.epoch, draw.sample, draw.repeat))
        mosaic = rng.random() < self.augment.mosaic
        # A tile without labels would pass for background beside others.
        alike = (0, self.labelled) if draw.sample < self.labelled else (self.labelled, len(self))
        others = rng.integers(*alike, size=MOSAIC_TILES - 1).tolist()
        own, problems = self._tiles([draw.sample])
        if not own:
            return None, problems
        if mosaic and draw.mosaic:
            more, problems = self._tiles(others)
            image, boxes = augment_mosaic(own + more, net_hw, self.augment, rng)
        else:
            image, boxes = augment_single(own[0], net_hw, self.augment, rng)
        image = augment_colour(image, self.augment, rng)
        return _item(image, _normalised(boxes, net_hw), identity(net_hw), draw.sample), problems

    @property
    def needed_bytes(self) -> int:
        """What all resized images take in RAM."""
        return self._contents.needed_bytes

    def content_size(self, index: int) -> Size:
        """(height, width) that the image itself takes within `img_size`."""
        return self._contents.sizes[index]

    def _plain(self, index: int, net_hw: Size) -> tuple[Item | None, list[Problem]]:
        try:
            content, geometry = self._contents.load(index)
        except UnreadableImageError as error:
            return None, [self._contents.problem(index, error)]
        geometry = geometry.placed(net_hw)
        labels = geometry.labels_to_net(self.samples[index].labels)
        return _item(pad(content, net_hw, self.feeding.grey), labels, geometry, index), []

    def _tiles(self, indices: Sequence[int]) -> tuple[list[Tile], list[Problem]]:
        """Resized images and their boxes, (n, 5): class, x1, y1, x2, y2 in pixels of the tile."""
        tiles: list[Tile] = []
        problems: list[Problem] = []
        for index in indices:
            try:
                image, geometry = self._contents.load(index)
            except UnreadableImageError as error:
                problems.append(self._contents.problem(index, error))
                continue
            if index not in self._boxes:
                self._boxes[index] = _tile_boxes(self.samples[index].labels, geometry)
            tiles.append((image, self._boxes[index]))
        return tiles, problems


def _tile_boxes(labels: FloatArray, geometry: Geometry) -> FloatArray:
    """Labels (n, 5) of an image -> (n, 5) class, x1, y1, x2, y2 in pixels of its tile."""
    rows = geometry.labels_to_net(labels)
    size = np.array(geometry.net_hw[::-1], np.float32)
    centre, half = rows[:, 1:3] * size, rows[:, 3:5] * size / 2
    return np.hstack((rows[:, :1], centre - half, centre + half))


def _normalised(boxes: FloatArray, net_hw: Size) -> FloatArray:
    """(n, 5) class, x1, y1, x2, y2 in pixels -> class, xc, yc, w, h as shares of the input."""
    size = np.array(net_hw[::-1], np.float32)
    low, high = boxes[:, 1:3] / size, boxes[:, 3:5] / size
    return np.hstack((boxes[:, :1], (low + high) / 2, high - low))


def _item(image: ByteArray, labels: FloatArray, geometry: Geometry, index: int) -> Item:
    return Item(torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(labels), geometry, index)
