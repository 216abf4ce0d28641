"""The batches of a run: loaders, and input sizes that change on the way (`--multi-scale`)."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..cfg import Cfg
from ..command.errors import UserError
from ..data.cache import bound_bytes
from ..data.darknet_files import DataSpec
from ..data.dataset import DetectionDataset
from ..data.loader import Loader, make_loader
from ..data.options import AugmentOptions, Fit
from ..data.samples import class_balance_weights
from ..detection.as_the_cfg_says import FROM_CFG, chosen_fit
from ..network.darknet import Network
from .distillation.unlabelled import images_without_labels
from .options import ImageOptions, TrainOptions

MOST_WORKERS = 8
BATCHES_PER_SIZE = 10
SMALLEST, LARGEST = 0.67, 1.5  # of the base size

logger = logging.getLogger(__name__)

_SIZE_STREAM = 3  # keeps these random numbers apart from those of the data


@dataclass(frozen=True)
class Loaders:
    """Batches to train on, to validate on, and of training images as they are (`--remeasure`)."""

    train: Loader
    valid: Loader | None
    plain: Loader | None


def make_loaders(
    training: TrainOptions,
    spec: DataSpec,
    network: Network,
    device: torch.device,
    share: tuple[int, int] = (0, 1),
) -> Loaders:
    """The loaders of a run, for this network; one of images as they are where it is asked for.

    With `share` (rank, of), this process's part of each batch. Raises UserError when there is
    nothing to train on.
    """
    options, seed = training.images, training.seed
    fit = fit_of_run(options, network.cfg)
    if spec.train is None:
        raise UserError(f"{spec.source}: names no list of training images (train=)")
    _require_even_shares(options.batch_size, share[1])

    def dataset(
        path: Path,
        cache: bool,
        augment: AugmentOptions | None = None,
        more: Sequence[Path] = (),
        keep_bytes: int = 0,
    ) -> DetectionDataset:
        return DetectionDataset(
            str(path),
            spec.nc,
            network.img_size,
            augment=augment,
            fit=fit,
            cache=cache,
            strict=options.strict,
            seed=seed,
            rect=options.rect and augment is not None,
            channels=network.in_channels,
            unlabelled=more,
            keep_bytes=keep_bytes,
        )

    more = images_without_labels(training.teacher.unlabelled, (spec.train, spec.valid))
    bound = bound_bytes(options.keep_mb)
    images = dataset(spec.train, options.cache, options.augment, more, bound)
    left = max(bound - images.needed_bytes, 0)
    valid = None if spec.valid is None else dataset(spec.valid, options.cache, keep_bytes=left)
    # A few images now and then: not worth the memory of a cache.
    plain = dataset(spec.train, False) if training.remeasured or training.int8 else None
    workers = options.workers if options.workers >= 0 else _pick_workers(device)
    size = options.batch_size
    # A short last batch would weigh its few images more, and shake the BN statistics.
    full = len(images) >= size
    if not full and share[1] > 1:
        raise UserError(f"{spec.source}: {len(images)} training images are less than one batch")
    weights = class_balance_weights(images.samples, spec.nc) if options.weighted else None
    return Loaders(
        make_loader(images, size, workers, True, full, weights, share),
        None if valid is None else make_loader(valid, size, share=share),
        None if plain is None else make_loader(plain, size, shuffle=True),
    )


def _require_even_shares(batch_size: int, processes: int) -> None:
    if batch_size % processes:
        raise UserError(
            f"--batch-size {batch_size}: is that of all processes together, and must be a multiple "
            f"of their number, {processes}"
        )


def fit_of_run(options: ImageOptions, cfg: Cfg) -> Fit:
    """How this run fits images into the network's input: `--rect` needs a letterbox.

    Warns when other commands, which only have the cfg to go by, would do it another way.
    """
    of_cfg = chosen_fit(FROM_CFG, cfg)
    by_rect = options.rect and options.fit == FROM_CFG
    fit = "letterbox" if by_rect else chosen_fit(options.fit, cfg)
    if fit != of_cfg:
        logger.warning(
            "%s: trained with --fit %s, but its [net] says letter_box=%d: give --fit %s to the "
            "other commands too, or set letter_box=%d for Darknet and all of them",
            cfg.source, fit, of_cfg == "letterbox", fit, fit == "letterbox",
        )  # fmt: skip
    return fit


def _pick_workers(device: torch.device) -> int:
    """On a CPU the step itself takes every core: images load in between."""
    cores = os.cpu_count() or 1
    return 0 if device.type == "cpu" else min(MOST_WORKERS, cores - 1)


def pick_size(
    base_hw: tuple[int, int], stride: int, seed: int, epoch: int, batch: int
) -> tuple[int, int]:
    """(height, width) of a batch: multiples of `stride`, one factor for both sides.

    Depends on (seed, epoch, batch) alone, so a resumed run sees the same sizes.
    """
    rng = np.random.default_rng((_SIZE_STREAM, seed, epoch, batch // BATCHES_PER_SIZE))
    factor = rng.uniform(SMALLEST, LARGEST)
    height, width = (max(stride, round(side * factor / stride) * stride) for side in base_hw)
    return height, width
