"""Training images as the network sees them in use: for what is measured on them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from torch import Tensor

from ..command.device import pick_device
from ..command.errors import UserError
from ..data.darknet_files import load_data_file
from ..data.dataset import DetectionDataset
from ..data.loader import make_loader
from .as_the_cfg_says import chosen_fit
from .figures import Model, data_spec


def require_training_images(args: argparse.Namespace) -> None:
    """Raise UserError when a flag is measured on training images and --data names none."""
    wishes = {"--importance taylor": args.importance == "taylor", "--recalibrate": args.recalibrate}
    for flag, wished in wishes.items():
        if wished and not args.data:
            raise UserError(f"{flag}: needs --data, since it is measured on training images")
        if wished:
            load_data_file(args.data).require("train")


def training_batches(
    model: Model, args: argparse.Namespace, batch_size: int, images: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Up to `images` images of the training list and their targets, drawn by --seed.

    Not augmented: statistics of the images that the network will meet. Images are float32
    (B, 3, H, W) in 0..1 on the device, targets (T, 6) as `Batch` has them. Raises UserError
    when --data names no training images.
    """
    spec = data_spec(model, args)
    fit = chosen_fit(args.fit, model.cfg)
    dataset = DetectionDataset(
        spec.require("train"), spec.nc, model.img_size, fit=fit, seed=args.seed
    )
    loader = make_loader(dataset, batch_size, args.workers, shuffle=True)
    device = pick_device(args.device)
    left = images
    for batch in loader:
        shown = batch.to(device)
        targets = shown.targets[shown.targets[:, 0] < left]
        yield shown.images[:left].to(torch.float32) / 255, targets
        left -= len(batch.images)
        if left <= 0:
            return
