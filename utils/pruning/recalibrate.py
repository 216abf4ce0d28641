"""BN statistics measured again on the pruned network.

Folding is exact but for zero-padded borders, and for what a channel hands on beside its constant;
the means and variances behind are off by that. Li et al., "EagleEye: Fast Sub-net Evaluation for
Efficient Neural Network Pruning", ECCV 2020, call it adaptive batch normalisation.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..cli import Parser, pick_device, positive_int
from ..errors import UserError
from ..progress import progress_bar
from ..report import ModelFigures
from .figures import Model, figures
from .training_images import training_batches

Score = Callable[[Model], ModelFigures]

_LEAST_IMAGES = 2  # one image has no variance where a feature map is a single cell


@dataclass(frozen=True)
class Recalibration:
    """What it was worth: the pruned network's figures with folding only, and after."""

    images: int
    folded: ModelFigures
    after: ModelFigures

    def __str__(self) -> str:
        """One line."""
        folded, after = self.folded.map50 or 0.0, self.after.map50 or 0.0
        return (
            f"BN statistics measured again on {self.images} training images: mAP@.5 {folded:.6f} "
            f"with folding alone, {after:.6f} after"
            f"{'; without --recalibrate it is better' if after < folded else ''}"
        )


def add_recalibrate(parser: Parser) -> None:
    """Add `--recalibrate`."""
    parser.add_argument(
        "--recalibrate",
        type=_image_count,
        metavar="N",
        help="measure the BN statistics of the pruned network again, on N training images (200 do; "
        "needs --data)",
    )


def _image_count(text: str) -> int:
    count = positive_int(text)
    if count < _LEAST_IMAGES:
        raise argparse.ArgumentTypeError(f"must be at least {_LEAST_IMAGES}, got {text}")
    return count


def recalibrate(
    model: Model, args: argparse.Namespace, folded: ModelFigures
) -> tuple[Recalibration, Model]:
    """The pruned model recalibrated, and what that was worth; `folded` are its figures before.

    Raises UserError.
    """
    twin, images = recalibrated(model, args)
    return Recalibration(images, folded, figures(twin, args)), twin


def recalibrated(model: Model, args: argparse.Namespace) -> tuple[Model, int]:
    """A copy with its BN statistics measured on `--recalibrate` training images, and their number.

    Raises UserError when the data set has too few.
    """
    twin: Any = copy.deepcopy(model)
    batch_size = max(_LEAST_IMAGES, args.batch_size)
    pairs = training_batches(model, args, batch_size, args.recalibrate)
    images = recalibrate_(twin.to(pick_device(args.device)), _batches(pairs))
    if not images:
        raise UserError(f"--recalibrate: {args.data} has no more than one readable training image")
    return twin.cpu(), images


def _batches(pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterable[Tensor]:
    """The images, but for a last batch of a single one, which has no variance of its own."""
    bar = progress_bar(pairs, "recalibrating", "batch")
    return (images for images, _ in bar if len(images) >= _LEAST_IMAGES)


@torch.no_grad()
def recalibrate_(network: nn.Module, batches: Iterable[Tensor]) -> int:
    """Replace every BN layer's mean and variance by those over `batches`; returns the images seen.

    Each is the average over the batches, weighted by their images, of the batch's own mean and
    unbiased variance: torch's cumulative average (momentum=None) where all batches are of one
    size. Layers see inputs normalised by the batch, as in training. batches: (B, C, H, W) in 0..1,
    on the network's device. Without a batch nothing changes.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    was_training = network.training
    seen = dict.fromkeys(norms, 0)
    hooks = [norm.register_forward_pre_hook(_weigh_by_images(seen)) for norm in norms]
    network.eval()
    for norm in norms:
        norm.train()
    images = 0
    try:
        for batch in batches:
            network(batch)
            images += len(batch)
    finally:
        for hook in hooks:
            hook.remove()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.train(was_training)
    return images


def _weigh_by_images(seen: dict[nn.BatchNorm2d, int]) -> Any:
    """A hook that gives a batch the weight of its images among all that the layer has seen."""

    def hook(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        count = len(inputs[0])
        seen[norm] += count
        norm.momentum = count / seen[norm]

    return hook
