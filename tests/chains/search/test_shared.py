"""A study that processes share: every draw is done once, whoever is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

from utils.chains.search.shared import Shared
from utils.chains.search.storage import open_study, storage_errors
from utils.command.errors import UserError

ABOUT = {"importance": "bn", "seed": 0}
FIRST = [{"x": 0.5}, {"x": 0.25}]

# One process: does draws of the study in a folder until there are none, and prints which.
WORKER = """
import sys, time
from pathlib import Path
from utils.chains.search.shared import Shared
from utils.chains.search.storage import open_study
folder, trials, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
study = open_study("", "", Path(folder), {"seed": 0})
shared = Shared(study, 0, lambda draw: {}, beat=0.2, grace=3.0)
shared.settle()
while (trial := shared.next(trials)) is not None:
    with shared.working(trial):
        x = trial.suggest_float("x", 0.01, 1.0, log=True)
        time.sleep(seconds)
        if shared.tell(trial, 1 - (x - 0.3) ** 2, {"x": x}):
            print(trial.user_attrs["draw"], flush=True)
"""


def opened(folder: Path, **options: Any) -> Shared:
    study = open_study("", "", folder, ABOUT)
    quick = {"beat": 0.05, "grace": 0.4, **options}
    return Shared(study, 0, lambda draw: FIRST[draw] if draw < len(FIRST) else {}, **quick)


def do(shared: Shared, trials: int, most: int = 100) -> None:
    """Up to `most` draws of those below `trials`."""
    for _ in range(most):
        trial = shared.next(trials)
        if trial is None:
            return
        with shared.working(trial):
            x = trial.suggest_float("x", 0.01, 1.0, log=True)
            assert shared.tell(trial, 1 - (x - 0.3) ** 2, {"x": x})


def test_the_first_are_as_given_and_the_others_differ(tmp_path: Path) -> None:
    shared = opened(tmp_path)
    do(shared, 15)
    draws, values, found = zip(*shared.results(), strict=True)
    assert draws == tuple(range(15))
    assert [each["x"] for each in found[:2]] == [0.5, 0.25]
    assert values[0] == pytest.approx(0.96)
    assert len({each["x"] for each in found}) == 15
    do(shared, 15)
    assert len(shared.results()) == 15  # nothing was left to do
    do(shared, 18)
    assert [draw for draw, *_ in shared.results()] == list(range(18))


def test_a_run_that_is_killed_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = opened(tmp_path / "whole")
    do(whole, 20)
    for draws in (1, 5, 13):
        shared = opened(tmp_path / "killed")
        shared.settle()
        do(shared, 20, draws - len(shared.results()))
        lost = shared.next(20)
        assert lost.user_attrs["draw"] == draws
        lost.suggest_float("x", 0.01, 1.0, log=True)  # and no more is heard of it
    shared = opened(tmp_path / "killed")
    shared.settle()
    do(shared, 20)
    assert shared.results() == whole.results()
    # Negative control: without having waited for what was lost, other parameters are drawn.
    (tmp_path / "hasty").mkdir()
    hasty = opened(tmp_path / "hasty")
    do(hasty, 20, 13)
    hasty.next(20)
    hasty = opened(tmp_path / "hasty")
    do(hasty, 20)
    assert hasty.results() != whole.results()
    assert [draw for draw, *_ in hasty.results()] == list(range(20))


def test_who_works_long_is_waited_for_and_who_is_silent_is_not(tmp_path: Path) -> None:
    slow, other = opened(tmp_path), opened(tmp_path)
    trial = slow.next(1)
    with slow.working(trial):
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            other._give_up()
            time.sleep(0.05)
        assert trial.study.get_trials()[0].state.name == "RUNNING"
        assert slow.tell(trial, 0.5, {})
    silent = other.next(2)
    started = time.monotonic()
    other.settle()
    assert time.monotonic() - started > 0.35
    late = slow.next(2)
    assert late.number != silent.number
    assert late.user_attrs["draw"] == silent.user_attrs["draw"] == 1
    assert not other.tell(silent, 0.9, {})  # it comes too late
    assert slow.tell(late, 0.7, {})
    assert [(draw, value) for draw, value, _ in slow.results()] == [(0, 0.5), (1, 0.7)]


def test_of_two_that_take_one_draw_the_later_yields(tmp_path: Path) -> None:
    shared, other = opened(tmp_path), opened(tmp_path)
    for _ in range(2):
        shared.study.enqueue_trial({}, {"draw": 0})
    mine, theirs = shared.next(2), other.next(2)
    assert (mine.user_attrs["draw"], theirs.user_attrs["draw"]) == (0, 1)
    for worker, trial in ((shared, mine), (other, theirs)):
        assert worker.tell(trial, 0.5, {})
    assert shared.next(2) is None
    states = Counter(trial.state.name for trial in shared.study.get_trials())
    assert states == {"COMPLETE": 2, "FAIL": 1}


def test_what_ends_in_an_error_is_free_again(tmp_path: Path) -> None:
    shared = opened(tmp_path)
    trial = shared.next(1)
    with pytest.raises(KeyboardInterrupt), shared.working(trial):
        raise KeyboardInterrupt
    again = shared.next(1)
    assert again.number == trial.number + 1 and again.user_attrs["draw"] == 0


def worker(folder: Path, trials: int, seconds: float, root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(folder), str(trials), str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.Popen(
        command, env=environment, cwd=root, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def test_two_processes_do_each_draw_once(tmp_path: Path, root: Path) -> None:
    both = [worker(tmp_path, 40, 0.05, root) for _ in range(2)]
    said = [process.communicate(timeout=100) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    draws = [[int(word) for word in out.split()] for out, _ in said]
    assert sorted(draws[0] + draws[1]) == list(range(40))
    assert all(draws)
    results = open_results(tmp_path)
    assert [draw for draw, *_ in results] == list(range(40))
    assert len({found["x"] for *_, found in results}) == 40


def test_what_a_killed_process_was_at_is_done_by_another(tmp_path: Path, root: Path) -> None:
    victims = [worker(tmp_path, 40, 0.2, root) for _ in range(2)]
    steady = worker(tmp_path, 40, 0.05, root)
    chance = random.Random(0)
    for victim in victims:
        assert victim.stdout is not None
        assert victim.stdout.readline()  # it has done one
        time.sleep(chance.uniform(0, 0.4))
        victim.send_signal(signal.SIGKILL)
        victim.communicate(timeout=10)
    out, err = steady.communicate(timeout=100)
    assert steady.returncode == 0, err
    assert [draw for draw, *_ in open_results(tmp_path)] == list(range(40))
    assert 0 < len(out.split()) < 40


def open_results(folder: Path) -> list[tuple[int, float, dict[str, Any]]]:
    return Shared(open_study("", "", folder, {"seed": 0}), 0, lambda draw: {}).results()


def test_a_study_of_something_else_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'all.db'}"
    open_study(url, "mine", tmp_path, ABOUT)
    open_study(url, "mine", tmp_path, ABOUT)
    open_study(url, "other", tmp_path, {**ABOUT, "importance": "taylor"})
    with pytest.raises(UserError, match=r"^--study mine: .* with other importance than now"):
        open_study(url, "mine", tmp_path, {**ABOUT, "importance": "taylor"})


def test_a_journal_file_holds_a_study_too(tmp_path: Path) -> None:
    studies = [open_study(f"journal:{tmp_path / 'a.log'}", "a", tmp_path, ABOUT) for _ in range(2)]
    one, two = (Shared(study, 0, lambda draw: {}) for study in studies)
    do(one, 6, 3)
    do(two, 6)
    assert [draw for draw, *_ in one.results()] == list(range(6))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "Could not parse"),
        ("nosuch://host/base", "nosuch"),
        ("sqlite:////gone/for/good/a.db", "unable to open"),
        ("postgresql://me:secret@localhost:1/base", "postgresql://me:"),
        ("journal:/gone/for/good/a.log", "No such file"),
    ],
)
def test_a_storage_that_cannot_be_used_is_told_in_one_line(
    url: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as found:
        open_study(url, "mine", tmp_path, ABOUT)
    assert str(found.value).startswith("--storage ")
    assert said in str(found.value) and "\n" not in str(found.value)
    assert "secret" not in str(found.value)


def test_a_storage_that_goes_away_is_told_in_one_line(tmp_path: Path) -> None:
    shared = opened(tmp_path)
    shared.study._storage._backend.engine.dispose()
    (tmp_path / "study.db").write_bytes(b"no data base any more" * 1000)
    with (
        pytest.raises(UserError, match=r"^--storage study\.db: cannot be used"),
        storage_errors(""),
    ):
        shared.next(3)
