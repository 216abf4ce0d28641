"""The network that is cut again and again, and the images that it is measured on beside others."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...cfg import parse_cfg, plain_text
from ...command.errors import UserError
from ...detection.options import Inputs, Scoring
from ...detection.training_images import training_batches
from ...network.cfg_of import read_cfg
from ...network.darknet import Build, Network
from ...network.weights import State, require_usable
from ...pruning.options import LEAST_IMAGES
from ...pruning.plan import PrunePlan
from ...pruning.surgery import prune


@dataclass(frozen=True)
class Subject:
    """The network whose groups are cut, and how one like it is built."""

    build: Build
    network: Network
    state: State

    def cut(self, plan: PrunePlan) -> Network:
        """The network that a plan leaves, not fused."""
        cfg, state = prune(self.network.cfg, self.state, plan)
        named = parse_cfg(plain_text(cfg), "the cut cfg")
        small: Network = self.build(named, self.network.img_size, weights=state)
        return small


def open_subject(inputs: Inputs, build: Build) -> Subject:
    """The network with its weights. Raises UserError, also for one without a head."""
    network: Network = build(read_cfg(inputs.cfg), inputs.img_size, weights=inputs.weights)
    state = {key: tensor.detach().cpu() for key, tensor in network.state_dict().items()}
    require_usable(state, inputs.weights)
    if not network.heads:
        raise UserError(f"{network.cfg.source}: has no detection head, and so nothing to score")
    return Subject(build, network, state)


def images_beside(network: Network, how: Scoring, images: int | None) -> list[Tensor]:
    """Images to measure BN statistics on: of the training list's rest; None: none.

    Raises UserError where too few are left for that.
    """
    if images is None:
        return []
    batch_size = max(LEAST_IMAGES, how.batch_size)
    batches = (batch for batch, _ in training_batches(network, how, batch_size, images))
    found = [batch for batch in batches if len(batch) >= LEAST_IMAGES]
    if not found:
        raise UserError(
            "--recalibrate: beside the development share, the training list has no more than one "
            "readable image; make --development smaller"
        )
    return found


def require_finds(map50: float) -> None:
    """Raise UserError where the uncut network is worth nothing on the development images."""
    if not map50 > 0:
        raise UserError(
            "the network finds nothing on the development images (mAP@.5 0.000), so nothing can "
            "fall: train it first"
        )
