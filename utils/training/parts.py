"""What a training run consists of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ..data.darknet_files import DataSpec
from ..data.loader import Loader
from ..detection.as_the_cfg_says import chosen_nms
from ..detection.evaluate import EvalOptions
from ..network.darknet import Network
from .checkpoint import Trainee
from .distillation.distiller import Distiller
from .losses.loss import DetectionLoss
from .optimization.freezing import Freezing
from .optimization.precision import Precision
from .optimization.ranks import Ranks
from .optimization.schedule import Schedule
from .options import TrainOptions
from .run_folder import RunFolder
from .sparse.pull import Sparsity


@dataclass(frozen=True)
class Run:
    """All that the loop works with; only the trainee and the progress change.

    options: with all decided that the run decides itself. model: what trains; network: what is
    called in training: the model, or what wraps it.
    plain: training images as they are, for BN statistics.
    """

    options: TrainOptions
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

    def scoring(self) -> EvalOptions:
        """How the averaged weights are scored."""
        return EvalOptions(
            nms_kind=chosen_nms(self.options.after_epoch.nms, self.model.heads[-1].section),
            device=self.device,
            channels_last=bool(self.options.machine.channels_last),
        )
