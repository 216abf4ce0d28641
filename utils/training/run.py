"""What a training run consists of."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..data.darknet_files import DataSpec
from ..data.loader import Loader
from .checkpoint import Trainee
from .distillation.distiller import Distiller
from .losses.loss import DetectionLoss
from .optimization.freezing import Freezing
from .optimization.precision import Precision
from .optimization.ranks import Ranks
from .optimization.schedule import Schedule
from .run_folder import RunFolder
from .sparse.pull import Sparsity

# `models.Darknet`, which utils does not import.
Network = Any


@dataclass(frozen=True)
class Run:
    """All that the loop works with; only the trainee and the progress change.

    network: what is called in training: the model, or what wraps it.
    plain: training images as they are, for BN statistics.
    """

    args: argparse.Namespace
    folder: RunFolder
    spec: DataSpec
    device: torch.device
    ranks: Ranks
    model: Network
    network: nn.Module
    trainee: Trainee
    loss: DetectionLoss
    distiller: Distiller | None
    sparsity: Sparsity
    freezing: Freezing
    precision: Precision
    schedule: Schedule
    loader: Loader
    valid: Loader | None
    plain: Loader | None
    cfg_text: str
