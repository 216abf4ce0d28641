"""What the tests of translation ask of every translated checkpoint."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import slim_prune
from models import Darknet
from tests.support.checkpoints import like_v8 as theirs
from tests.support.installed.opencv_version import READS_CFG
from tests.support.prune_case import prune_by_flags
from translate import main
from utils.pruning.report.result import Pruned
from utils.translate.blocks.writer import Translated

SIZE = (64, 96)


def images(seed: int = 0, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def ours(found: Translated) -> Darknet:
    model = Darknet(found.cfg).eval()
    model.load_state(found.state)
    return model


@torch.no_grad()
def largest_difference(found: Translated, reference: theirs.DetectionModel) -> float:
    x = images()
    raw, wanted = ours(found).raw_heads(x), reference.float().raw(x)
    assert len(raw) == len(wanted) == 3
    pairs = zip(raw, wanted, strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def assert_prunes(checkpoint: Path) -> None:
    """It translates into a network that slim_prune.py cuts, exactly."""
    cfg = checkpoint.with_suffix(".cfg")
    main(["--weights", str(checkpoint), "--output", str(cfg), "--img-size", "64",
          "--bn-export", "native"])  # fmt: skip
    found = prune_by_flags(
        slim_prune.STRATEGY,
        ["--cfg", str(cfg), "--weights", str(cfg.with_suffix(".weights")),
         "--global-percent", "0.4", "--layer-keep", "0.1"],
    )  # fmt: skip
    assert isinstance(found, Pruned)
    assert max(found.proof.masked, found.proof.folded) < 1e-12
    assert found.after.parameters < 0.7 * found.before.parameters


def opencv_raw(cfg: Path, x: torch.Tensor) -> list[torch.Tensor]:
    if not READS_CFG:
        pytest.skip("needs OpenCV 4: OpenCV 5 dropped its importer of Darknet files")
    net = cv2.dnn.readNetFromDarknet(str(cfg), str(cfg.with_suffix(".weights")))
    net.setInput(x.numpy())
    names = net.getUnconnectedOutLayersNames()
    assert len(names) == 3  # the heads and nothing else
    return [torch.from_numpy(np.array(out)) for out in net.forward(names)]
