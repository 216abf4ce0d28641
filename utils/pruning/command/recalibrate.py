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

from torch import Tensor

from ...command.cli import Parser, positive_int
from ...command.device import pick_device
from ...command.errors import UserError
from ...command.progress import progress_bar
from ...detection.figures import Model, ModelFigures, figures
from ...detection.training_images import training_batches
from ...network.bn_statistics import recalibrate_

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
