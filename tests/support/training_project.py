"""The project of the tests that train: some drawn images, a network of three convolutions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import train
from models import Darknet
from tests.support.nets import conv, head, net
from utils.cfg import format_cfg

CFG = format_cfg(net(conv(8, stride=2), conv(8, stride=4), head()))
QUICK = [
    "--img-size",
    "32",
    "--batch-size",
    "2",
    "--mosaic",
    "0.5",
    "--device",
    "cpu",
    "--seed",
    "3",
    "--noplots",
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a cfg, a data set of 7 images and nothing else; the working directory."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_project(folder: Path) -> None:
    """What the project holds."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    for number in range(7):
        image = rng.integers(0, 60, (32, 32, 3), np.uint8)
        label = number % 2
        image[8:20, 4:18] = (250, 30, 30) if label else (30, 30, 250)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
        row = f"{label} {11 / 32} {14 / 32} {14 / 32} {12 / 32}\n"
        (folder / "labels" / f"{number}.txt").write_text(row if number else "")
    (folder / "list.txt").write_text("".join(f"images/{n}.png\n" for n in range(7)))
    (folder / "my.names").write_text("blue\nred\n")
    (folder / "my.data").write_text("classes=2\ntrain=list.txt\nvalid=list.txt\nnames=my.names\n")
    (folder / "my.cfg").write_text(CFG)


NOT_THE_RECIPE = {"name", "resume"}


def run(*flags: str) -> Path:
    return train.main(["--cfg", "my.cfg", "--data", "my.data", *QUICK, *flags])


def content(path: Path) -> dict[str, Any]:
    loaded = torch.load(path, weights_only=True)
    assert isinstance(loaded, dict)
    return loaded


def assert_same(a: Any, b: Any, where: str = "") -> None:
    """Equal bit for bit, through all nested containers."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            if not str(key).startswith("time/") and key not in NOT_THE_RECIPE:
                assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for number, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{number}]")
    else:
        assert a == b, where


# -- iterative_prune.py ---------------------------------------------------------------------------

TRAIN_FLAGS = "--train-flags=--mosaic 0 --lr0 0.01 --warmup-epochs 0 --noplots"
QUICK_STEPS = [
    "--cfg", "my.cfg", "--weights", "start.weights", "--data", "my.data", "--img-size", "32",
    "--device", "cpu", "--workers", "0", "--batch-size", "2", TRAIN_FLAGS,
    "--epochs-per-step", "1", "--steps", "2", "--target", "0.25",
]  # fmt: skip


@pytest.fixture
def project_with_weights(project: Path) -> Path:
    """The project with weights to start from: 16 channels that may go, and 14 of the head."""
    torch.manual_seed(0)
    model = Darknet("my.cfg")
    for layer in model.layers[:2]:
        torch.nn.init.uniform_(layer.bn.weight, 0.1, 1.0)
    model.save_weights("start.weights")
    return project
