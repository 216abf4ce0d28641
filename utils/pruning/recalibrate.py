"""BN statistics measured again on the pruned network.

Folding is exact but for zero-padded borders, and for what a channel hands on beside its constant;
the means and variances behind are off by that. Li et al., "EagleEye: Fast Sub-net Evaluation for
Efficient Neural Network Pruning", ECCV 2020, call it adaptive batch normalisation.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from ..command.errors import UserError
from ..command.machine.device import pick_device
from ..command.progress import progress_bar
from ..detection.figures import ModelFigures, figures
from ..detection.options import Scoring
from ..network.batch_norm.statistics import recalibrate_
from ..network.darknet import Network
from .options import LEAST_IMAGES


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


def recalibrate(
    network: Network, how: Scoring, images: int, folded: ModelFigures
) -> tuple[Recalibration, Network]:
    """The pruned network recalibrated, and what that was worth; `folded` are its figures before.

    Raises UserError.
    """
    twin, used = recalibrated(network, how, images)
    return Recalibration(used, folded, figures(twin, how, False, folded.latency)), twin


def recalibrated(network: Network, how: Scoring, images: int) -> tuple[Network, int]:
    """A copy with its BN statistics measured on up to `images` training images, and their number.

    Raises UserError when the data set has too few.
    """
    from ..detection.training_images import training_batches  # data sets load for those who ask

    twin = copy.deepcopy(network)
    batch_size = max(LEAST_IMAGES, how.batch_size)
    pairs = training_batches(network, how, batch_size, images)
    used = recalibrate_(twin.to(pick_device(how.device)), _batches(pairs))
    if not used:
        raise UserError(f"--recalibrate: {how.data} has no more than one readable training image")
    twin.to("cpu")
    return twin, used


def _batches(pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterable[Tensor]:
    """The images, but for a last batch of a single one, which has no variance of its own."""
    bar = progress_bar(pairs, "recalibrating", "batch")
    return (images for images, _ in bar if len(images) >= LEAST_IMAGES)
