"""What a network is worth after a group was cut: the loss and mAP on the development images."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from ...command.machine.device import pick_device
from ...detection.as_the_cfg_says import chosen_nms
from ...detection.evaluate import DEFAULTS, collect, measure
from ...detection.options import Scoring
from ...network.batch_norm.statistics import recalibrate_
from ...network.darknet import Network
from ...network.graph import ChannelGraph
from ...pruning.importance.scores import Values
from ...pruning.plan import PrunePlan
from ...pruning.sensitivity.record import Scores
from ...training.losses.loss import DetectionLoss, total
from ...training.losses.options import LossOptions
from .effects import channel_effects
from .held import Held
from .subject import Subject
from .tail import BatchNumber, Front, Tail, numbered

# The training's objectness target, the IoU that a box has at the moment, falls as boxes get worse:
# such a loss can fall with them, and its gradient, which takes the target for fixed, is not that of
# the loss itself.
STEADY = LossOptions(objectness_target="one")


class Meter:
    """Scores cut networks; see `tail` for what it keeps."""

    def __init__(
        self, subject: Subject, held: Held, rest: Sequence[Tensor], how: Scoring, with_map: bool
    ) -> None:
        """`rest`: images (B, C, H, W) to measure BN statistics on after a cut; none: not."""
        self._subject = subject
        self._held = held
        self._with_map = with_map
        self._device = pick_device(how.device)
        self._nms = chosen_nms(how.nms, subject.network.heads[-1].section)
        fused = copy.deepcopy(subject.network).fuse().eval().to(self._device)
        self._front = Front(fused, held.inputs(self._device))
        self._calibration = Front(fused, rest) if rest else None
        self._targets = held.targets(self._device)
        self._whole: Network = fused

    def effects(self, graph: ChannelGraph) -> Values:
        """See `channel_effects`; for the network as it is."""
        whole = copy.deepcopy(self._subject.network).eval().to(self._device)
        loss = DetectionLoss(whole.heads, STEADY)
        return channel_effects(graph, whole, self._held.inputs(self._device), self._targets, loss)

    def base(self) -> Scores:
        """Scores of the uncut network."""
        return self._scores(self._whole)

    def cut(self, plan: PrunePlan, first: int) -> Scores:
        """Scores of the network that a plan leaves; it changes no layer before `first`.

        `first` must not fall from call to call.
        """
        self._front.advance(first)
        small = self._subject.cut(plan).eval().to(self._device)
        if self._calibration is not None:
            self._calibration.advance(first)
            recalibrate_(Tail(small, self._calibration), numbered(self._calibration))
        return self._scores(small.fuse())

    @torch.no_grad()
    def _scores(self, network: Network) -> Scores:
        tail, loss = Tail(network, self._front), DetectionLoss(network.heads, STEADY)
        turns = iter(numbered(self._front))
        sizes = [(batch.images.shape[2], batch.images.shape[3]) for batch in self._held]
        losses: list[float] = []

        def predict(batch: BatchNumber) -> Tensor:
            raw, size = tail(batch), sizes[batch.number]
            value = total(loss(raw, self._targets[batch.number], size))
            losses.append(float(value) * len(batch))
            pairs = zip(network.heads, raw, strict=True)
            return torch.cat([h.decode(r, size) for h, r in pairs if h.answers], 1)

        if not self._with_map:
            for batch in turns:
                predict(batch)
            return Scores(loss=sum(losses) / self._held.images)
        nc = network.nc
        options = DEFAULTS.with_nms(self._nms)
        # Its images are those of the front, in the same order.
        found = measure(
            collect(lambda _: predict(next(turns)), self._held, nc, options, False), nc, ()
        )
        return Scores(sum(losses) / self._held.images, found.map50, found.map)
