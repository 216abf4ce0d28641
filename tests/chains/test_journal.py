"""What the journal of a chain does with trainings that are done, begun, or not begun."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import train
from tests.support.training_project import run
from utils.chains.journal import Journal, Trainer
from utils.training import checkpoint as checkpoints
from utils.training import loop


@pytest.fixture
def journal(project: Path) -> Journal:
    return Journal.start("chain", "--output", "iterative_prune.py", {})


class Recorded:
    """A trainer that trains nothing and notes what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, argv: Sequence[str]) -> Path:
        self.calls.append(list(argv))
        return train.RUNS / "made"

    def asked_for(self, journal: Journal, run_name: str) -> list[list[str]]:
        """What a chain that had begun this run asks of its trainer."""
        journal.note(runs={"1-recover": run_name})
        journal.trained("1-recover", ["--epochs", "9"], Trainer(self, train.RUNS))
        return self.calls


def test_a_run_with_all_its_epochs_is_done(journal: Journal) -> None:
    assert Recorded().asked_for(journal, run("--epochs", "1").name) == []


def test_a_run_that_stopped_early_is_done(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last checkpoint has fewer epochs than asked for; training on would be another chain."""
    monkeypatch.setattr(loop, "scores", lambda _: {"fitness": 0.5})
    stopped = run("--epochs", "9", "--patience", "2")
    assert checkpoints.load_for_resume(stopped / "last.pt")["epoch"] == 3
    assert Recorded().asked_for(journal, stopped.name) == []


def test_a_run_that_was_killed_goes_on(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --patience as well: it has not waited that long for a better epoch."""
    real_save = checkpoints.save

    def killed_after_two_epochs(path: Path, what: Any) -> None:
        real_save(path, what)
        if path.name == "last.pt" and what["epoch"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save", killed_after_two_epochs)
    monkeypatch.setattr(loop, "scores", lambda _: {"fitness": 0.5})
    with pytest.raises(KeyboardInterrupt):
        run("--epochs", "9", "--patience", "2", "--name", "cut")
    asked = Recorded().asked_for(journal, "cut")
    assert asked == [["--resume", str(train.RUNS / "cut")]]


def test_a_run_that_left_nothing_is_made_anew(journal: Journal) -> None:
    """The name was taken down before the first checkpoint was: it begins under a free one."""
    (train.RUNS / "nothing").mkdir(parents=True)
    ((*flags, name, chosen),) = Recorded().asked_for(journal, "nothing")
    assert (flags, name) == (["--epochs", "9"], "--name")
    assert journal.content["runs"] == {"1-recover": chosen} != {"1-recover": "nothing"}


def test_a_shared_journal_may_be_joined_and_another_may_not(tmp_path: Path) -> None:
    first = Journal.start(tmp_path / "shared", "--output", "x.py", {}, shared=True)
    assert Journal.load(tmp_path / "shared", "--resume", "x.py", shared=True).content
    alone = Journal.start(tmp_path / "alone", "--output", "x.py", {})
    claim = "from utils.chains.journal import Journal; Journal.load({!r}, '--resume', 'x.py')"
    for folder, told in (("alone", "another command is at work"), ("shared", "")):
        words = [sys.executable, "-c", claim.format(str(tmp_path / folder))]
        found = subprocess.run(words, capture_output=True, text=True, check=False)
        assert told in found.stderr and (found.returncode == 0) is not bool(told)
    assert first.folder != alone.folder
