"""A project with a network that finds its boxes, for the commands that measure one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import train
from tests.support.nets import conv, head, net, section
from tests.support.training_project import QUICK, write_project
from utils.cfg import format_cfg

CFG = format_cfg(net(
    conv(8, stride=2), conv(6, 1), conv(8), section("shortcut", frm=-3, activation="linear"),
    conv(10, stride=4), head(),
))  # fmt: skip


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a network that finds most of its boxes: my.pt."""
    folder = tmp_path_factory.mktemp("trained")
    write_project(folder)
    (folder / "my.cfg").write_text(CFG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train.main([
            "--cfg", "my.cfg", "--data", "my.data", *QUICK, "--batch-size", "4", "--mosaic", "0",
            "--workers", "0", "--notest", "--epochs", "60", "--lr0", "0.01", "--warmup-epochs", "0",
            "--name", "base",
        ])  # fmt: skip
        shutil.move("runs/train/base/last.pt", "my.pt")
    shutil.rmtree(folder / "runs")
    return folder


@pytest.fixture
def here(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it; the working directory. Its validation list is not there."""
    folder = tmp_path / "here"
    shutil.copytree(trained, folder)
    data = folder / "my.data"
    data.write_text(data.read_text().replace("valid=list.txt", "valid=gone.txt"))
    monkeypatch.chdir(folder)
    return folder
