"""search.py from end to end: budgets hold, its files, going on after a kill, several processes."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import importlib.util
import os
import shlex
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

import search
import slim_prune
from models import Darknet
from tests.support.prune_case import prune_by_flags
from utils.chains.search.run import Found
from utils.chains.search.start import EQUAL, NAMES, PLAIN, SENSITIVITY
from utils.chains.sensitivity.subject import images_beside
from utils.command.errors import UserError
from utils.detection.options import Inputs, Scoring
from utils.network.batch_norm.statistics import recalibrate_
from utils.pruning.report.result import Pruned
from utils.pruning.sensitivity.caps import cfg_hash, state_hash
from utils.pruning.sensitivity.file import write_sensitivity
from utils.pruning.sensitivity.record import Curve, Images, Point, Ranked, Scores, Sensitivity
from utils.pruning.widths.file import read_widths
from utils.runtimes.val.options import ValOptions
from utils.runtimes.val.run import evaluate_files

GROUPS = (((0, 2), 8), ((1,), 6), ((4,), 10))
FLAGS = [
    "--cfg", "my.cfg", "--weights", "my.pt", "--data", "my.data", "--development", "0.5",
    "--device", "cpu", "--workers", "0", "--batch-size", "4", "--recalibrate", "3",
    "--target-params", "0.5",
]  # fmt: skip


def searched(*flags: str, name: str = "out") -> Found:
    found = search.main([*FLAGS, *flags, "--output", name])
    assert isinstance(found, Found)
    return found


def rows_of(name: str) -> list[dict[str, str]]:
    with Path(name, "trials.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("here")
def test_all_budgets_hold_and_the_files_say_what_was_found(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = searched("--target-macs", "0.6", "--trials", "14")
    assert found.groups == GROUPS
    assert [trial.draw for trial in found.trials] == list(range(14))
    assert [trial.origin for trial in found.trials] == [*NAMES, *["search"] * 4]
    for trial in found.trials:
        assert trial.params <= 0.5 * found.whole["params"]
        assert trial.macs <= 0.6 * found.whole["macs"]
        assert all(1 <= k <= size for k, (_, size) in zip(trial.kept, GROUPS, strict=True))
    assert len({trial.kept for trial in found.trials}) > 5
    equal = found.trials[0].kept
    assert max(k / s for k, (_, s) in zip(equal, GROUPS, strict=True)) < 0.8
    best = max(found.trials, key=lambda trial: trial.map50)
    assert found.best[0].map50 == best.map50 > 0
    widths = read_widths("out/widths.json")
    assert tuple(group.keep for group in widths.groups) == found.best[0].kept
    rows = rows_of("out")
    assert [float(row["map50"]) for row in rows] == [trial.map50 for trial in found.trials]
    assert [int(row["layers 0 2"]) for row in rows] == [trial.kept[0] for trial in found.trials]
    assert Path("out/search.png").stat().st_size > 10_000
    said = capsys.readouterr().out
    for word in (PLAIN, EQUAL, "Best of 14", "a second", "validation list"):
        assert word in said, word


@pytest.mark.usefixtures("here")
def test_the_next_command_cuts_what_was_scored(capsys: pytest.CaptureFixture[str]) -> None:
    """Through the gate; and by val.py, on the same images, it is worth what the trial said."""
    found = searched("--trials", "12")
    (line,) = [li for li in capsys.readouterr().out.splitlines() if "python slim_prune.py" in li]
    words = shlex.split(line)[2:]
    words[words.index("--data") + 1] = "out/development/development.data"
    at = words.index("--recalibrate")
    cut = prune_by_flags(slim_prune.STRATEGY, [*words[:at], *words[at + 2 :], "--batch-size", "4"])
    assert isinstance(cut, Pruned)  # the gate was passed
    best = found.best[0]
    assert cut.after.parameters == best.params
    scoring = Scoring("out/development/development.data", workers=0, device="cpu", batch_size=4)
    small = Darknet(str(cut.cfg_path), weights=str(cut.weights_path))

    def worth() -> float:
        small.save_weights("again.weights")
        again = Inputs(str(cut.cfg_path), "again.weights")
        return evaluate_files(ValOptions(again, scoring), Darknet).map

    folded = worth()
    recalibrate_(small, images_beside(small, scoring, 3))
    assert worth() == pytest.approx(best.map, abs=0.02)
    others = {trial.map for trial in found.trials}
    assert len(others) > 4 and max(others) - min(others) > 0.1 and folded != best.map


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("ranking", ["global", "isomorphic", "layer"])
def test_the_plain_ranking_is_that_of_the_prune(ranking: str) -> None:
    found = searched("--trials", "2", "--ranking", ranking)
    argv = ["--cfg", "my.cfg", "--weights", "my.pt", "--target-params", "0.5", "--at-most"]
    argv += ["--ranking", ranking]
    done = prune_by_flags(slim_prune.STRATEGY, [*argv, "--dry-run"])
    assert isinstance(done, Pruned)
    kept = [int(done.plan.kept(layers[0]).sum()) for layers, _ in GROUPS]
    assert found.trials[1].origin == PLAIN
    # Where the ranking leaves room under the budget, the search fills it.
    assert all(a >= b for a, b in zip(found.trials[1].kept, kept, strict=True))
    assert sum(found.trials[1].kept) - sum(kept) <= 2


def found_of(drops: dict[tuple[int, ...], float]) -> Sensitivity:
    """What some shares of each group cost; .1 for all of it where `drops` do not say."""
    model = Darknet("my.cfg", weights="my.pt")
    curves = tuple(
        Curve(layers, size, tuple(
            Point(share, int(size * share), share * drops.get(layers, 0.1), Scores())
            for share in (0.3, 0.6, 0.9)
        ))
        for layers, size in GROUPS
    )  # fmt: skip
    return Sensitivity(
        cfg_hash(model.cfg), state_hash(model.state_dict()), "map", Scores(map50=0.8),
        Ranked("slim_prune", "bn", "none"), Images(8, 0.1, 0), (32, 32), 0, curves,
    )  # fmt: skip


@pytest.mark.usefixtures("here")
def test_what_a_sensitivity_allots_is_tried() -> None:
    at = NAMES.index(SENSITIVITY)
    kept = []
    for dear in ((1,), (4,)):
        write_sensitivity(found_of({dear: 9.0}), Path("found.json"))
        name = f"dear{dear[0]}"
        found = searched("--sensitivity", "found.json", "--trials", str(at + 1), name=name)
        kept.append(found.trials[at].kept)
    assert kept[0][1] > kept[1][1] and kept[0][2] < kept[1][2]
    Path("found.json").write_text(
        Path("found.json").read_text().replace('"weights_sha256": "', '"weights_sha256": "0', 1)
    )
    assert "is no sha256" in mistake("--sensitivity", "found.json")
    write_sensitivity(dataclasses.replace(found_of({}), weights_sha256="0" * 64), Path("b.json"))
    assert "of another network" in mistake("--sensitivity", "b.json", "--output", "wrong")


def run(*argv: str) -> subprocess.Popen[str]:
    script = Path(search.__file__)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(script), *argv], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return out


def contents(name: str) -> dict[str, bytes]:
    wanted = ("widths.json", "trials.csv", "search.png")
    return {each: Path(name, each).read_bytes() for each in wanted}


@pytest.mark.usefixtures("here")
def test_killed_and_resumed_it_ends_with_the_same_files() -> None:
    ended(run(*FLAGS, "--trials", "16", "--output", "whole"))
    argv: tuple[str, ...] = (*FLAGS, "--trials", "16", "--output", "killed")
    for number in (3, 11):
        process = run(*argv)
        while done("killed") < number:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.kill()
        process.communicate()
        assert done("killed") < 16
        argv = ("--resume", "killed")
    said = ended(run(*argv))
    assert contents("killed") == contents("whole")
    assert int(said.split(" in this run")[0].split()[-1]) <= 5


def done(name: str) -> int:
    """How many trials of a run's study are complete."""
    file = Path(name, "study.db")
    if not file.is_file():
        return 0
    with contextlib.closing(sqlite3.connect(file, timeout=30)) as study:
        try:
            ask = "SELECT count(*) FROM trials WHERE state = 'COMPLETE'"
            return int(study.execute(ask).fetchone()[0])
        except sqlite3.OperationalError:  # its tables are not there yet
            return 0


@pytest.mark.usefixtures("here")
def test_two_processes_share_a_run() -> None:
    first = run(*FLAGS, "--trials", "60", "--output", "out")
    while not Path("out/state.json").is_file():
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    second = run("--resume", "out")
    said = [ended(first), ended(second)]
    assert [int(row["trial"]) for row in rows_of("out")] == list(range(60))
    counts = [int(each.split(" in this run")[0].split()[-1]) for each in said]
    assert sum(counts) == 60 and all(counts)


@pytest.mark.usefixtures("here")
def test_a_study_elsewhere_is_shared_by_runs_of_the_same_flags() -> None:
    where = ["--storage", f"sqlite:///{Path('all.db').absolute()}", "--study", "mine"]
    first = searched(*where, "--trials", "4", name="one")
    both = searched(*where, "--trials", "9", name="two")
    assert (first.here, both.here) == (4, 5)
    assert both.trials[:4] == first.trials
    with pytest.raises(UserError, match="other budgets than now"):
        searched(*where, "--target-macs", "0.5", name="three")
    with pytest.raises(UserError, match=r"other seed than now|other images than now"):
        searched(*where, "--seed", "1", name="four")


def mistake(*flags: str) -> str:
    with pytest.raises(UserError) as found:
        search.main([*FLAGS, *flags])
    assert "\n" not in str(found.value)
    return str(found.value)


def test_mistakes_are_told_in_one_line(here: Path) -> None:
    assert "0.01: cannot be reached" in mistake("--target-macs", "0.01")
    assert "--study" in mistake("--storage", "sqlite:///a.db")
    assert "--storage" in mistake("--study", "a")
    assert "gone.json" in mistake("--sensitivity", "gone.json")
    assert "none of its channels can go" in mistake("--only", "5")
    with pytest.raises(UserError, match="how small"):
        search.main(FLAGS[:-2])
    searched("--trials", "1")
    with pytest.raises(UserError, match="a resumed run keeps its flags"):
        search.main(["--resume", "out", "--trials", "3"])
    with pytest.raises(UserError, match="the state that --resume needs"):
        search.main(["--resume", "gone"])
    cfg = Path("my.cfg")
    cfg.write_text(cfg.read_text().replace("leaky", "relu", 1))
    with pytest.raises(UserError, match="other cfg than now"):
        search.main(["--resume", "out"])


def test_without_optuna_it_names_what_to_install(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec

    def without(name: str, *more: Any) -> Any:
        return None if name == "optuna" else real(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    said = mistake()
    assert said == "search.py needs optuna, not installed here: pip install optuna"
    assert not Path("runs").exists()
