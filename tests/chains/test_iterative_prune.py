"""iterative_prune.py: ratios that meet the target, stopping, and going on after a kill."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import iterative_prune
import train
from models import Darknet
from tests.support.training_project import QUICK_STEPS, TRAIN_FLAGS, content
from utils.chains.iterative.flags import read_flags
from utils.chains.iterative.options import Pace
from utils.chains.iterative.run import plan_steps, share_to_keep
from utils.chains.journal import Journal
from utils.command.errors import UserError
from utils.training import checkpoint as checkpoints
from utils.training import loop
from utils.training.run_folder import RunFolder


def run(*flags: str, name: str = "out") -> list[dict[str, float]]:
    return iterative_prune.main([*QUICK_STEPS, *flags, "--output", name])


def steps_csv(name: str) -> list[dict[str, str]]:
    with (Path(name) / "steps.csv").open() as file:
        return list(csv.DictReader(file))


def parsed(*flags: str) -> Pace:
    words = ["--data", "my.data", *flags]
    return read_flags(iterative_prune.STRATEGIES, None, words).options.pace


@given(st.floats(0.01, 0.99), st.integers(1, 20))
def test_ratios_of_the_steps_multiply_to_the_target(target: float, steps: int) -> None:
    left = 1.0
    for step in plan_steps(parsed("--target", repr(target), "--steps", str(steps))):
        left *= share_to_keep(step.gone, left)
    assert left == pytest.approx(1 - target, abs=1e-12)


def test_what_a_step_could_not_take_the_next_one_makes_up_for() -> None:
    # Four steps to a half: .125 each. The second took nothing; the third takes both.
    assert share_to_keep(0.375, left=0.875) == pytest.approx(0.625 / 0.875)
    assert share_to_keep(0.375, left=0.5) == 1.0  # and nothing if too much went before


def test_the_last_step_has_its_own_training_and_one_shot_the_epochs_of_all() -> None:
    flags = ("--steps", "3", "--epochs-per-step", "5", "--last-epochs", "20")
    steps = plan_steps(parsed(*flags, "--last-batch-size", "2", "--last-schedule", "cosine"))
    assert [step.epochs for step in steps] == [5, 5, 20]
    assert [step.flags for step in steps] == [
        (), (), ("--batch-size", "2", "--schedule", "cosine")
    ]  # fmt: skip
    (single,) = plan_steps(parsed(*flags, "--one-shot"))
    assert (single.gone, single.epochs) == (0.5, 30)


def test_steps_reach_the_target_and_from_scratch_takes_the_structure(
    project_with_weights: Path,
) -> None:
    rows = run()
    # 30 channels in all: an eighth and a quarter gone, as near as whole channels come.
    assert [row["channels"] for row in rows] == [30, 26, 22]
    assert [row["epochs"] for row in rows] == [0, 1, 1]
    best = Darknet("out/best.cfg").load_weights("out/best.weights")
    assert sum(rule.shape[0] for rule in best.rules[:3]) == 22
    assert (project_with_weights / "out/steps.png").stat().st_size > 1000
    scratch = iterative_prune.main(
        ["--from-scratch", "out", "--data", "my.data", "--device", "cpu", "--workers", "0",
         "--img-size", "32", TRAIN_FLAGS, "--output", "scratch"]
    )  # fmt: skip
    assert [row["channels"] for row in scratch] == [22]
    assert scratch[0]["epochs"] == 2
    with pytest.raises(UserError, match="holds other files"):
        run()


@pytest.mark.parametrize(
    ("measure", "count", "gone"), [("params", "parameters", 0.273), ("macs", "macs", 0.276)]
)
def test_one_shot_with_a_teacher_and_other_measures(
    project_with_weights: Path, measure: str, count: str, gone: float
) -> None:
    teacher = ("--t-cfg", "my.cfg", "--t-weights", "start.weights")
    rows = run("--one-shot", "--measure", measure, "--target", str(gone), *teacher)
    assert [row["epochs"] for row in rows] == [0, 2]  # of both steps together
    assert rows[1][count] / rows[0][count] == pytest.approx(1 - gone, abs=0.01)
    args = json.loads(next(train.RUNS.glob("out-*/args.json")).read_text())
    assert (args["t_cfg"], args["t_weights"]) == ("my.cfg", "start.weights")


def test_a_drop_beyond_the_limit_ends_it_with_the_last_good_step(
    project_with_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The start finds nothing, so a drop is a number below 0 here.
    found = iter([(-0.1, 0.0), (-0.3, 0.0)])
    monkeypatch.setattr("utils.chains.iterative.run.best_scores", lambda _: next(found))
    rows = run("--steps", "3", "--max-map-drop", "0.2")
    assert [row["good"] for row in rows] == [1, 1, 0]  # the third step is not tried
    best = Darknet("out/best.cfg").load_weights("out/best.weights")
    assert sum(rule.shape[0] for rule in best.rules[:3]) == rows[1]["channels"]


def losses(run: RunFolder) -> tuple[float, float]:
    """In place of mAP, which is 0 so early: numbers that any other training would change."""
    row = content(run.last)["results"][-1]
    return row["loss/total"], row["loss/box"]


class Killed(BaseException):
    """In place of a signal: nothing catches it."""


def test_after_a_kill_anywhere_steps_csv_is_the_same(
    project_with_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utils.chains.iterative.run.best_scores", losses)
    run(name="whole")
    notes = 0
    real_note, real_save = Journal.note, checkpoints.save

    def killed_after_each_note(self: Journal, **parts: Any) -> None:
        real_note(self, **parts)
        raise Killed

    def killed_after_an_epoch(path: Path, what: Any) -> None:
        real_save(path, what)
        if path.name == "last.pt" and not what["epoch"]:  # within a training
            raise Killed

    def attempt(argv: Sequence[str], patches: dict[Any, tuple[str, Any]]) -> bool:
        with monkeypatch.context() as patch:
            for owner, (name, value) in patches.items():
                patch.setattr(owner, name, value)
            try:
                iterative_prune.main(argv)
            except Killed:
                return False
        return True

    note: dict[Any, tuple[str, Any]] = {Journal: ("note", killed_after_each_note)}
    within: dict[Any, tuple[str, Any]] = {loop: ("save", killed_after_an_epoch)}
    resume = ["--resume", "cut"]
    assert not attempt([*QUICK_STEPS, "--output", "cut"], note)
    assert not attempt(resume, note)  # after the first prune
    assert not attempt(resume, within)
    while not attempt(resume, note):
        notes += 1
        assert notes < 9
    assert steps_csv("cut") == steps_csv("whole")
    assert notes >= 3  # recovered, pruned, recovered
    assert len(list(train.RUNS.glob("cut-*"))) == 2  # begun trainings went on
    other = [
        "--steps",
        "1",
        "--target",
        "0.125",
        "--train-flags=--mosaic 0 --lr0 0.02 --warmup-epochs 0",
    ]
    run(*other, name="other")
    first, control = steps_csv("whole")[1], steps_csv("other")[1]
    assert first["channels"] == control["channels"]
    assert first != control  # negative control: another learning rate shows


def test_mistakes_are_told_before_anything_is_made(project_with_weights: Path) -> None:
    with pytest.raises(SystemExit):
        run("--train-flags=--no-such-flag 1")
    with pytest.raises(UserError, match="a teacher needs both"):
        run("--t-cfg", "my.cfg")
    with pytest.raises(UserError, match="state"):
        iterative_prune.main(["--resume", "nowhere"])
    with pytest.raises(UserError, match="that run is not done"):
        Journal.start("begun", "--output", "iterative_prune.py", {})
        run("--from-scratch", "begun", name="scratch")
    assert not Path("out").exists()
    with pytest.raises(UserError, match="give --resume alone"):
        iterative_prune.main(["--resume", "begun", "--steps", "3"])


@pytest.mark.parametrize(
    ("prune_flags", "said"),
    [
        ("--global-percent 0.5", "--target-channels: takes the place of --global-percent"),
        ("--global-percent 0.3,0.5", "--target-channels: takes the place of --global-percent"),
        ("--max-map-drop 0.1", "--target-channels: finds one ratio"),
        ("--target-params 0.5", "--target-params: each step has a goal of its own"),
        ("--dry-run", "--dry-run: would leave nothing to finetune"),
    ],
)
def test_prune_flags_that_contradict_the_steps(
    project_with_weights: Path, prune_flags: str, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        run(f"--prune-flags={prune_flags}")
    assert not Path("out").exists()


def test_a_step_s_report_says_what_the_step_did(project_with_weights: Path) -> None:
    rows = run("--one-shot", "--prune-flags=--report told --round-to 2 --bn-epsilon any")
    record = json.loads(Path("told/report.json").read_text("utf-8"))
    assert record["inputs"]["cfg"]["path"] == record["options"]["cfg"] == "out/step01/full.cfg"
    assert (record["options"]["budget"], record["options"]["round_to"]) == ("channels0.75", 2)
    assert "--target-channels 0.75 --force" in record["command"]
    kept = sum(row["after"] for row in record["layers"])
    assert kept == rows[1]["channels"]
