"""Networks for grey images and for four bands, through every command that feeds them images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import slim_prune
from models import Darknet
from tests.support.nets import conv, head, healthy, net
from tests.support.tiny_data import make_set
from utils.cfg import format_cfg
from utils.command.optional import NEEDS, missing
from utils.detection.options import Inputs, Scoring
from utils.pruning.command.run import prune_network
from utils.pruning.options import PruneOptions
from utils.runtimes.detect.options import DetectOptions
from utils.runtimes.detect.run import detect_files
from utils.runtimes.export.options import ExportOptions
from utils.runtimes.export.run import export_model
from utils.runtimes.val.options import ValOptions
from utils.runtimes.val.run import evaluate_files
from utils.training.options import ImageOptions, MachineOptions, TrainOptions
from utils.training.run import train_network

INPUTS = Inputs("my.cfg", "my.weights")
HOW = Scoring("my.data", workers=0, device="cpu", batch_size=2)


@pytest.fixture(params=[1, 4], ids=["grey", "four bands"])
def channels(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> int:
    """my.cfg, my.weights and my.data with six such images, in the working directory."""
    monkeypatch.chdir(tmp_path)
    count: int = request.param
    cfg = net(conv(8, stride=2), conv(8, stride=2), head(), channels=count)
    Path("my.cfg").write_text(format_cfg(cfg))
    healthy(cfg).save_weights("my.weights")
    make_set(tmp_path, 6)
    for number, path in enumerate(sorted(Path("images").iterdir())):
        bands = np.random.default_rng(number).integers(0, 255, (48, 64, count), dtype=np.uint8)
        cv2.imwrite(str(path), bands)
    Path("my.data").write_text("classes=2\ntrain=list.txt\nvalid=list.txt\n")
    return count


def test_it_is_trained(channels: int) -> None:
    options = TrainOptions(
        cfg="my.cfg",
        data="my.data",
        epochs=1,
        images=ImageOptions(batch_size=2, workers=0),
        machine=MachineOptions(device="cpu"),
    )
    run = train_network(options, Darknet)
    assert Darknet("my.cfg").load_weights(run.best).in_channels == channels


@pytest.mark.parametrize("backend", ["torch", "opencv"])
def test_it_is_scored_and_runs_alike_in_opencv(channels: int, backend: str) -> None:
    by_torch = evaluate_files(ValOptions(INPUTS, HOW), Darknet)
    found = evaluate_files(ValOptions(INPUTS, HOW, backend=backend), Darknet)
    assert found.images == 6
    assert found.map50 == pytest.approx(by_torch.map50, abs=1e-3)


def test_it_detects_prunes_and_exports(channels: int) -> None:
    tally = detect_files(DetectOptions(INPUTS, "images", device="cpu", output="found"), Darknet)
    assert tally.frames == 6
    pruned = prune_network(PruneOptions(slim_prune.STRATEGY, INPUTS, HOW, ratio=0.5), Darknet)
    assert pruned.after.map50 is not None
    assert Darknet(pruned.cfg_path).in_channels == channels
    if missing(NEEDS["onnx"]):
        return
    done = export_model(ExportOptions(INPUTS, data="my.data"), Darknet)
    assert done.checked > 0
