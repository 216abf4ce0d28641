"""A training that is killed at any moment goes on, and ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.training_project import QUICK_STEPS, assert_same, content, run
from utils.command.errors import UserError
from utils.training.checkpoint import load_for_resume

EPOCHS, KILLS = "60", 10
FLAGS = ("--epochs", EPOCHS, "-sr", "--s", "0.01", "--name")


def start(root: Path, *flags: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(root / "train.py"), *flags]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.mark.slow
def test_killed_ten_times_it_ends_as_an_uninterrupted_run(project: Path, root: Path) -> None:
    whole = run(*FLAGS, "whole")
    cut = Path("runs/train/cut")
    first = [
        "--cfg", "my.cfg", "--data", "my.data", "--img-size", "32", "--batch-size", "2",
        "--mosaic", "0.5", "--device", "cpu", "--seed", "3", *FLAGS, "cut",
    ]  # fmt: skip
    moments = random.Random(0)
    kills = 0
    process = start(root, *first)
    while kills < KILLS:
        while process.poll() is None and not (cut / "last.pt").exists():
            time.sleep(0.05)
        # A process needs some seconds before it trains; a kill before that proves little.
        time.sleep(moments.uniform(0.1, 1.5) if kills == 0 else moments.uniform(4, 7))
        process.kill()
        process.wait()
        kills += 1
        names = {path.name for path in cut.iterdir() if not path.name.startswith("events")}
        # A kill in the middle of a write may leave a hidden file, never a half-written one.
        assert {name for name in names if not name.startswith(".")} <= {
            "args.json", "best.pt", "last.pt", "results.csv",
        }  # fmt: skip
        epoch = load_for_resume(cut / "last.pt")["epoch"]
        if epoch >= int(EPOCHS):
            break
        process = start(root, "--resume", "--name", "cut")
    process.wait()
    assert kills >= 2
    assert_same(content(cut / "last.pt"), content(whole / "last.pt"))
    assert_same(content(cut / "best.pt"), content(whole / "best.pt"))
    with pytest.raises(UserError, match="no state of training"):  # best.pt: weights alone
        load_for_resume(cut / "best.pt")


@pytest.mark.slow
def test_iterative_pruning_killed_at_random_ends_the_same(
    project_with_weights: Path, root: Path
) -> None:
    script = str(root / "iterative_prune.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def begin(*flags: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, script, *flags], env=environment)

    def written() -> set[tuple[Path, int]]:
        """The files that a chain goes on from, and when each was replaced last."""
        files = [Path("cut/state.json"), *Path("runs/train").glob("cut-*/last.pt")]
        return {(path, path.stat().st_mtime_ns) for path in files if path.exists()}

    several = (*QUICK_STEPS, "--steps", "4", "--epochs-per-step", "8", "--output")
    assert begin(*several, "whole").wait() == 0
    moments = random.Random(1)
    flags: tuple[str, ...] = (*several, "cut")
    kills = 0
    while True:
        before = written()
        process = begin(*flags)
        while process.poll() is None and (kills == KILLS or written() == before):
            time.sleep(0.02)
        # An epoch takes a twentieth of a second: somewhere in the next few, or in a prune.
        time.sleep(moments.uniform(0, 0.3))
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
        if Path("cut/state.json").exists():
            flags = ("--resume", "cut")
    assert process.returncode == 0
    assert kills >= 3
    for name in ("steps.csv", "best.cfg", "best.weights"):
        assert Path("cut", name).read_bytes() == Path("whole", name).read_bytes(), name
