"""compress.py under SIGKILL at random moments: resumed, it ends with the same bytes."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.training_project import run as train_project
from tests.support.training_project import write_project

KILLS = 10
# A cut is never free and widths are always taken, so that each stage there is can be killed.
SCRIPT = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from utils.chains.compress import decisions
decisions.FREE = -1.0
decisions.best_of = lambda scores, _: len(scores) - 1
import compress
compress.main(sys.argv[1:])
"""
GOAL = (
    "--weights", "base.pt", "--data", "my.data", "--img-size", "32", "--epochs", "6",
    "--batch-size", "2", "--workers", "0", "--device", "cpu", "--keep-params", "0.5", "--search",
)  # fmt: skip


def results(folder: Path) -> dict[str, bytes]:
    """What is handed over."""
    names = ("out.cfg", "out.weights", "search/widths-1.json")
    return {name: (folder / name).read_bytes() for name in names}


class Command:
    """compress.py in a process of its own."""

    def __init__(self, root: Path, words: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(root), *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def is_killed_after(self, seconds: float) -> bool:
        """Kill it then; False where it was done before, and did well."""
        try:
            said = self._process.communicate(timeout=seconds)[1]
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            self._process.communicate()
            return True
        assert self._process.returncode == 0, said
        return False


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bytes(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    flags = ("--epochs", "40", "--lr0", "0.01", "--mosaic", "0", "--notest", "--name", "base")
    shutil.copyfile(train_project(*flags) / "last.pt", "base.pt")
    out, began = Path("killed/out"), time.monotonic()
    assert not Command(root, [*GOAL, "--output", "whole/out"]).is_killed_after(1e6)
    whole_s, wanted = time.monotonic() - began, results(Path("whole/out"))

    draw, kills, finished = random.Random(18), 0, 0
    while kills < KILLS:
        begun = (out / "state.json").is_file()
        words = ["--resume", str(out)] if begun else [*GOAL, "--output", str(out)]
        moment = draw.uniform(0.0, whole_s)
        if Command(root, words).is_killed_after(moment):
            kills += 1
        else:
            finished += 1
            assert results(out) == wanted
            shutil.rmtree(out)
        if out.is_dir() and not (out / "state.json").is_file():
            shutil.rmtree(out)  # killed before there was anything to go on with
    if not (out / "state.json").is_file():
        Command(root, [*GOAL, "--output", str(out)]).is_killed_after(whole_s / 2)
    assert not Command(root, ["--resume", str(out)]).is_killed_after(1e6)
    assert results(out) == wanted
    print(f"{kills} kills, finished {finished} times between them")
