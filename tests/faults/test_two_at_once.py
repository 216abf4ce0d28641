"""Two commands at one output, and what is left of one that was killed in the middle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import export
import make_cfg
import sensitivity
import slim_prune
import train
import translate
import val
from models import Darknet
from tests.faults.other import Other
from tests.support.training_project import QUICK
from utils.chains.journal import Journal
from utils.command.errors import UserError
from utils.command.whole import temporary
from utils.training import checkpoint
from utils.training.run import WEIGHTS
from utils.training.run_folder import RunFolder

PRUNE = ["--cfg", "my.cfg", "--weights", "my.weights", "--name", "cut", "--project", "out"]
PRUNE += ["--global-percent", "0.3"]


@pytest.fixture
def pruneable(project: Path) -> Path:
    Darknet("my.cfg").save_weights("my.weights")
    return project


@pytest.mark.usefixtures("pruneable")
def test_a_second_command_is_told_and_changes_nothing() -> None:
    with (
        Other("out/cut/cut.cfg", "new.cfg"),
        pytest.raises(UserError, match=r"cut\.cfg: cannot be written \(another command is at"),
    ):
        slim_prune.main(PRUNE)
    with Other("new.cfg"), pytest.raises(UserError, match="another command is at work"):
        make_cfg.main(["--cfg", "my.cfg", "--data", "my.data", "--output", "new.cfg"])
    assert not Path("out/cut/cut.cfg").exists()
    slim_prune.main(PRUNE)
    assert Path("out/cut/cut.cfg").exists()


@pytest.mark.usefixtures("project")
def test_one_run_and_one_chain_at_a_time() -> None:
    train.main(["--cfg", "my.cfg", "--data", "my.data", *QUICK, "--epochs", "1", "--name", "r"])
    with Other("runs/train/r"), pytest.raises(UserError, match="another command is at work"):
        train.main(["--resume", "--name", "r", "--epochs", "2"])
    with Other("chain"), pytest.raises(UserError, match="another command is at work"):
        Journal.start("chain", "--output", "x", {})
    Journal.start("chain", "--output", "x", {})
    with Other("chain"), pytest.raises(UserError, match="another command is at work"):
        Journal.load("chain", "--resume", "x")


def killed_at_rename(n: int, argv: list[str]) -> None:
    """slim_prune.py in a child that ends at its n-th rename to a file's own place."""
    child = os.fork()
    if not child:
        left, real = [n], Path.replace

        def replace(self: Path, target: Path) -> Path:
            left[0] -= not target.name.startswith(".darkslim-")
            if left[0] == 0:
                os._exit(9)
            return real(self, target)

        Path.replace = replace  # type: ignore[method-assign]
        slim_prune.main(argv)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_next_prune_finishes_what_a_killed_one_began(
    pruneable: Path, n: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over an older result: cfg, weights and plan are of one prune again, whatever the moment."""
    slim_prune.main(PRUNE)
    folder = Path("out/cut")
    stronger = [*PRUNE, "--global-percent", "0.6", "--force"]
    killed_at_rename(n, stronger)
    with pytest.raises(UserError, match="was stopped while it replaced this file"):
        Darknet(folder / "cut.cfg")
    monkeypatch.setattr(temporary, "_swept", set())
    with pytest.raises(UserError, match="exists already; --force overwrites it"):
        slim_prune.main(PRUNE)
    assert "an earlier command was stopped while it put cut.cfg" in caplog.text
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    slim_prune.main(stronger)
    assert found == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(found) == {"cut.cfg", "cut.weights", "cut.plan.json"}


def test_copies_that_a_kill_left_out_are_made_by_resume(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.main(["--cfg", "my.cfg", "--data", "my.data", *QUICK, "--epochs", "1", "--name", "r"])
    run = RunFolder(project / "runs" / "train" / "r")
    assert not checkpoint.copies_are_due(run, WEIGHTS)
    for path in WEIGHTS.iterdir():
        path.unlink()
    assert checkpoint.copies_are_due(run, WEIGHTS)
    with pytest.raises(UserError, match="epochs are done"):
        train.main(["--resume", "--name", "r"])
    assert (WEIGHTS / "last.pt").read_bytes() == run.last.read_bytes()
    assert (WEIGHTS / "best.pt").read_bytes() == run.best.read_bytes()


def test_weights_with_nan_are_told_before_training(project: Path) -> None:
    model = Darknet("my.cfg")
    model.layers[0].bn.running_var.fill_(-1)
    model.save_weights("bad.weights")
    with pytest.raises(UserError, match=r"bad\.weights: .* negative variance"):
        train.main(["--cfg", "my.cfg", "--data", "my.data", *QUICK, "--weights", "bad.weights"])


@pytest.mark.usefixtures("pruneable")
def test_a_place_that_cannot_be_is_said_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a file there is no folder, for root neither; the network is not even read."""
    monkeypatch.setattr(Darknet, "__init__", lambda *args, **more: pytest.fail("read already"))
    model = ["--cfg", "my.cfg", "--weights", "my.weights"]
    below = "my.names/x"
    commands = (
        (translate.main, [*model, "--output", "nowhere/x.cfg"]),
        (make_cfg.main, ["--cfg", "my.cfg", "--data", "my.data", "--output", "nowhere/x.cfg"]),
        (export.main, [*model, "--format", "darknet", "--output", below]),
        (val.main, [*model, "--data", "my.data", "--save-json", below]),
        (slim_prune.main, [*model, "--project", below, "--name", "r"]),
        (sensitivity.main, [*model, "--data", "my.data", "--output", below]),
    )
    for main, argv in commands:
        with pytest.raises(
            UserError, match=r"nowhere is no folder|my\.names/x.*(cannot|not exist)"
        ):
            main(argv)
