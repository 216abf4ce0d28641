"""train.py end to end, on a handful of drawn images and a network of three convolutions."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import train
from models import Darknet
from tests.support.training_project import CFG, assert_same, content, run
from utils.command.errors import UserError
from utils.data.loader import Batch
from utils.training import checkpoint as checkpoints
from utils.training import loop
from utils.training.parts import Run
from utils.training.run_pictures import batch_sheet


def test_a_run_leaves_its_files(project: Path) -> None:
    folder = run("--epochs", "2", "--name", "first")
    assert folder == Path("runs/train/first")
    names = {path.name for path in folder.iterdir()}
    assert {"last.pt", "best.pt", "args.json", "results.csv"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert not any(name.startswith(".") for name in names)  # no half-written file
    assert json.loads((folder / "args.json").read_text())["epochs"] == 2
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert {"loss/box", "val/map50", "fitness", "gamma/near_zero"} <= rows[0].keys()
    assert (project / folder / "best.pt").stat().st_size < (folder / "last.pt").stat().st_size


def test_checkpoints_load_into_a_model_of_their_own_cfg(project: Path) -> None:
    folder = run("--epochs", "1")
    for name in ("last.pt", "best.pt"):
        saved = content(folder / name)
        (project / "again.cfg").write_text(saved["cfg"])
        model = Darknet("again.cfg").load_weights(folder / name)
        assert model.seen == 6
        for key, tensor in model.state_dict().items():
            assert torch.equal(tensor, saved["model"][key])
        assert model.names == tuple(saved["names"]) and len(model.names) == model.nc
        assert model.best_conf is None or 0 < model.best_conf < 1
        assert ("best_conf" in saved) == (model.best_conf is not None)
    assert saved["cfg"] == CFG


def test_the_loss_falls_and_boxes_are_found(project: Path) -> None:
    folder = run(
        "--epochs", "12", "--mosaic", "0", "--scale", "0", "--translate", "0", "--lr0", ".05"
    )
    rows = content(folder / "last.pt")["results"]
    assert rows[-1]["loss/total"] < 0.7 * rows[0]["loss/total"]
    assert rows[-1]["val/map50"] > rows[0]["val/map50"]


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--optimizer", "sgd", "--amp", "bf16", "--multi-scale", "-sr", "--accumulate", "2"),
        ("--no-ema", "--schedule", "step", "--workers", "1", "--cache-images"),
        ("--amp", "fp16", "--lr0", "0.001"),
    ],
)
def test_a_resumed_run_ends_as_an_uninterrupted_one(
    project: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    whole = run("--epochs", "3", "--name", "whole", *flags)
    saves = 0
    real_save = checkpoints.save

    def killed_after_two_epochs(path: Path, what: Any) -> None:
        nonlocal saves
        real_save(path, what)
        saves += path.name == "last.pt"
        if saves == 3:  # the one at the start, then one per epoch
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save", killed_after_two_epochs)
        with pytest.raises(KeyboardInterrupt):
            run("--epochs", "3", "--name", "cut", *flags)
    cut = Path("runs/train/cut")
    assert content(cut / "last.pt")["epoch"] == 2
    torch.rand(5)  # whatever happens in between
    (project / "my.cfg").write_text("changed")  # the run has its own copy
    assert train.main(["--resume", "--name", "cut"]) == cut
    assert_same(content(cut / "last.pt"), content(whole / "last.pt"))
    assert_same(content(cut / "best.pt"), content(whole / "best.pt"))
    (project / "my.cfg").write_text(CFG)
    with pytest.raises(AssertionError):  # negative control: another seed is another run
        other = run("--epochs", "3", "--name", "other", *flags, "--seed", "4")
        assert_same(content(other / "last.pt")["raw"], content(whole / "last.pt")["raw"])


def test_resume_refuses_what_would_be_another_run(project: Path) -> None:
    folder = run("--epochs", "1")
    with pytest.raises(UserError, match="are done"):
        train.main(["--resume", str(folder)])
    with pytest.raises(UserError, match="--lr0"):
        train.main(["--resume", str(folder / "last.pt"), "--epochs", "2", "--lr0", "1"])
    with pytest.raises(UserError, match=r"no state of training"):
        (folder / "last.pt").write_bytes((folder / "best.pt").read_bytes())
        train.main(["--resume", str(folder), "--epochs", "2"])
    with pytest.raises(UserError, match="does not exist"):
        train.main(["--resume", "--name", "nobody"])


def test_resume_goes_further_with_more_epochs(project: Path) -> None:
    folder = run("--epochs", "1")
    train.main(["--resume", "--epochs", "2"])
    assert [row["epoch"] for row in content(folder / "last.pt")["results"]] == [0, 1]


def test_runs_never_write_over_each_other(project: Path) -> None:
    first = run("--epochs", "1", "--name", "a")
    before = (first / "last.pt").read_bytes()
    second = run("--epochs", "1", "--name", "a", "--seed", "9")
    assert second == Path("runs/train/a-2")
    assert (first / "last.pt").read_bytes() == before
    with pytest.raises(UserError, match="plain folder name"):
        run("--epochs", "1", "--name", "../a")


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(project: Path) -> None:
    with pytest.raises(UserError, match="not finite") as error:
        run(
            "--epochs",
            "30",
            "--lr0",
            "1e18",
            "--clip-norm",
            "0",
            "--no-ema",
            "--warmup-epochs",
            "0",
        )
    assert "last.pt" in str(error.value)
    kept = content(Path("runs/train/my/last.pt"))
    assert all(torch.isfinite(tensor).all() for tensor in kept["model"].values())


def test_weights_that_the_last_step_of_an_epoch_ruined_are_not_saved(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_epoch = loop.train_epoch

    def ruined(parts: Run, epoch: int, *rest: Any) -> Any:
        row = real_epoch(parts, epoch, *rest)
        if epoch == 1:
            with torch.no_grad():
                parts.model.layers[0].bn.running_var[0] = torch.inf
        return row

    monkeypatch.setattr(loop, "train_epoch", ruined)
    with pytest.raises(UserError, match="not finite"):
        run("--epochs", "3")
    kept = content(Path("runs/train/my/last.pt"))
    assert kept["epoch"] == 1
    assert all(torch.isfinite(tensor).all() for tensor in kept["raw"].values())


def test_sparse_training_shrinks_gammas(project: Path) -> None:
    flags = ("--epochs", "4", "--optimizer", "sgd", "--lr0", "0.01")
    plain = content(run(*flags, "--name", "plain") / "last.pt")["results"][-1]
    sparse = content(run(*flags, "-sr", "--s", "0.5") / "last.pt")["results"][-1]
    assert sparse["gamma/median"] < plain["gamma/median"] - 0.05


def test_transfer_trains_the_head_alone(project: Path) -> None:
    first = run("--epochs", "1", "--name", "a")
    before = content(first / "best.pt")["model"]
    second = run("--epochs", "1", "--weights", str(first / "best.pt"), "--transfer", "--no-ema")
    after = content(second / "last.pt")["model"]
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert {"layers.2.conv.weight", "layers.2.conv.bias"} <= changed
    assert not any(key.endswith(("0.conv.weight", "1.conv.weight", "bn.weight")) for key in changed)


def test_patience_stops_early(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "scores", lambda _: {"fitness": 0.5})
    folder = run("--epochs", "9", "--patience", "2")
    saved = content(folder / "last.pt")
    assert (saved["epoch"], saved["best_epoch"]) == (3, 0)


def test_nosave_and_notest_wait_for_the_end(project: Path) -> None:
    saved = content(run("--epochs", "3", "--notest", "--nosave") / "last.pt")
    assert ["val/map50" in row for row in saved["results"]] == [False, False, True]


def test_a_cfg_for_other_classes_is_refused_and_leaves_no_folder(project: Path) -> None:
    (project / "my.data").write_text("classes=1\ntrain=list.txt\nvalid=list.txt\nnames=my.names\n")
    (project / "my.names").write_text("blue\n")
    with pytest.raises(UserError, match=r"make_cfg\.py"):
        run("--epochs", "1")
    assert not Path("runs/train").exists() or not any(Path("runs/train").iterdir())


def test_sizes_that_do_not_fit_the_strides_are_refused(project: Path) -> None:
    with pytest.raises(UserError, match=r"36: must be a multiple of 8, .*: 32 or 40"):
        run("--epochs", "1", "--img-size", "36")


def test_drawing_the_first_batch_leaves_it_alone() -> None:
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8).to(memory_format=torch.channels_last)
    targets = torch.tensor([[0, 1, 0.5, 0.5, 0.5, 0.5]])
    assert not (batch_sheet(Batch(images, targets[:0], [], []), ["a", "b"]) % 255).any()
    assert (batch_sheet(Batch(images, targets, [], []), ["a", "b"]) % 255).any()
    assert not images.any()
