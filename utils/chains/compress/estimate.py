"""How long a training and a scoring take on this machine: measured, in a few steps."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...command.machine.device import pick_device
from ...detection.options import Scoring
from ...detection.training_images import training_batches
from ...network.darknet import Network
from ...training.losses.loss import DetectionLoss, total

_STEPS = 4  # the first one warms up
_AROUND = 1.4  # an epoch over its steps alone: loading, augmentation, the optimizer, averages


@dataclass(frozen=True)
class Pace:
    """Seconds of an epoch of the network as it is, and of a teacher's part in it."""

    epoch_s: float
    teacher_s: float

    def of(self, epochs: int, size: float = 1.0) -> float:
        """Seconds of some epochs of a network of `size` of the MACs, with the teacher."""
        return epochs * (self.epoch_s * size + self.teacher_s)


def measure_pace(network: Network, how: Scoring, images: int, teaches: bool = True) -> Pace:
    """By a few steps forward and back on training images; `network` stays as it is."""
    twin = copy.deepcopy(network).to(pick_device(how.device)).train()
    loss = DetectionLoss(twin.heads)
    steps_s: list[float] = []
    passes_s: list[float] = []
    for batch, targets in training_batches(network, how, how.batch_size, _STEPS * how.batch_size):
        size = (batch.shape[2], batch.shape[3])
        began = time.perf_counter()
        with torch.enable_grad():
            torch.autograd.backward([total(loss(twin.raw_heads(batch), targets, size))])
        steps_s.append(time.perf_counter() - began)
        began = time.perf_counter()
        with torch.no_grad():
            twin.raw_heads(batch)
        passes_s.append(time.perf_counter() - began)
        twin.zero_grad()
    steps = math.ceil(images / how.batch_size)
    teacher_s = _usual(passes_s) * steps if teaches else 0.0
    return Pace(_usual(steps_s) * steps * _AROUND, teacher_s)


def _usual(times_s: Sequence[float]) -> float:
    return statistics.median(times_s[1:] or times_s)
