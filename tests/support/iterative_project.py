"""Where the tests of `iterative_prune.py` begin: the training project, weights, quick flags."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models import Darknet
from tests.support.training_project import CFG

TRAIN_FLAGS = "--train-flags=--mosaic 0 --lr0 0.01 --warmup-epochs 0"
QUICK = [
    "--cfg", "my.cfg", "--weights", "start.weights", "--data", "my.data", "--img_size", "32",
    "--device", "cpu", "--workers", "0", "--batch-size", "2", TRAIN_FLAGS,
    "--epochs-per-step", "1", "--steps", "2", "--target", "0.25",
]  # fmt: skip


@pytest.fixture
def project_with_weights(project: Path) -> Path:
    """The project with weights to start from: 16 channels that may go, and 14 of the head."""
    torch.manual_seed(0)
    Path("my.cfg").write_text(CFG)
    model = Darknet("my.cfg")
    for layer in model.layers[:2]:
        torch.nn.init.uniform_(layer.bn.weight, 0.1, 1.0)
    model.save_weights("start.weights")
    return project
