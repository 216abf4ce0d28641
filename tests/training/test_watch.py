"""What a run says and leaves: its head, its epochs, how it ends or is cut off, its pictures."""

from __future__ import annotations

import csv
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

import train
from tests.support.training_project import CFG, QUICK, assert_same, content
from utils.command.errors import UserError
from utils.training import loop
from utils.training.epoch_lines import epoch_line

WITH_PLOTS = [flag for flag in QUICK if flag != "--noplots"]
PICTURES = {
    "results.png", "PR_curve.png", "P_curve.png", "R_curve.png", "F1_curve.png", "labels.jpg",
    "confusion_matrix.png", "val_batch0_labels.jpg", "val_batch0_pred.jpg", "train_batch0.jpg",
    "train_batch1.jpg", "train_batch2.jpg",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _words(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def run(*flags: str, plots: bool = False) -> Path:
    quick = WITH_PLOTS if plots else QUICK
    return train.main(["--cfg", "my.cfg", "--data", "my.data", *quick, *flags])


def row_of(text: str, name: str) -> str:
    (found,) = [line for line in text.splitlines() if line.startswith(f"{name}:")]
    return found


def test_the_head_says_what_trains_and_what_was_left_out(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = run("--epochs", "2", "--lr0", "0.01", "--accumulate", "3")
    said = "\n".join(record.message for record in caplog.records)
    assert "my.cfg: 4 layers, " in row_of(said, "network")
    assert "at 32x32" in row_of(said, "network")
    assert "2 classes (blue, red), 7 images to train on, 7 to validate" in row_of(said, "data")
    optimizer = row_of(said, "optimizer")
    assert "adamw (by default), lr0 0.01, " in optimizer
    assert "momentum 0.9 (by default)" in optimizer
    assert "2 epochs of 1 step of 2 x 3 images" in row_of(said, "length")
    assert "32x32 (width" in row_of(said, "input")
    assert "stretch (the cfg's)" in row_of(said, "input")
    assert "flip 0.5 (by default)" in row_of(said, "augmentation")
    assert "device:          cpu, " in row_of(said, "device")
    assert "sparse training" not in said
    log = (folder / "train.log").read_text()
    assert "lr0 0.01" in log
    assert "epoch 2/2" in log


def test_the_head_says_what_the_cfg_turns_off_and_what_a_sparse_run_pulls(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (project / "my.cfg").write_text(CFG.replace("[net]", "[net]\nflip=0"))
    run("--epochs", "1", "-sr", "--s", "0.5")
    said = "\n".join(record.message for record in caplog.records)
    assert "flip 0 ([net] says flip=0)" in row_of(said, "augmentation")
    assert "sgd (by default), lr0 0.02 (by default)" in row_of(said, "optimizer")
    assert "16 gammas (what slim_prune may cut), s 0.5 by subgradient" in said
    caplog.clear()
    run("--epochs", "1", "--flip", "0.5")  # negative control
    assert "flip 0.5, " in row_of("\n".join(r.message for r in caplog.records), "augmentation")


def test_a_fall_of_map_is_announced_where_weights_meet_a_warm_up(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = run("--epochs", "1")
    assert "falls at first" not in caplog.text
    run("--epochs", "1", "--weights", str(first / "best.pt"))
    assert "mAP falls at first, while the learning rate rises (3 steps)" in caplog.text
    caplog.clear()
    run("--epochs", "1", "--weights", str(first / "best.pt"), "--warmup-epochs", "0")
    assert "falls at first" not in caplog.text


def test_an_epoch_s_line_is_in_words_of_the_field() -> None:
    row = {
        "epoch": 2, "loss/box": 0.5, "loss/obj": 0.25, "loss/total": 0.75, "gamma/near_zero": 0.4,
        "val/precision": 0.79, "val/recall": 0.81, "val/map50": 0.643, "val/map": 0.301,
        "fitness": 0.4, "time/seconds": 11.2,
    }  # fmt: skip
    line = epoch_line(row, 12, better=True, sparse=False, left="2 min")
    assert line == (
        "epoch 3/12  loss 0.750 (box 0.500 obj 0.250)  P 0.790  R 0.810  mAP@.5 0.643  "
        "mAP@.5:.95 0.301  best so far  11 s, 2 min left"
    )
    assert "best" not in epoch_line(row, 12, better=False, sparse=False, left="")
    assert "|gamma| < .01 40.0%" in epoch_line(row, 12, better=True, sparse=True, left="")
    assert epoch_line(row, 3, better=False, sparse=False, left="0 s").endswith("  11 s")
    unscored = {key: row[key] for key in ("epoch", "loss/total", "time/seconds")}
    assert "best" not in epoch_line(unscored, 9, better=True, sparse=False, left="")


def test_a_run_leaves_pictures_which_change_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = run("--epochs", "2", plots=True)
    said = capsys.readouterr().out
    assert "F1 is highest at a score of 0." in said
    assert "| blue  |" in said
    assert "python detect.py --weights runs/train/my/best.pt --source list.txt --conf-thres" in said
    bare = run("--epochs", "2", "--name", "bare")
    assert {path.name for path in drawn.iterdir()} >= PICTURES
    assert not PICTURES & {path.name for path in bare.iterdir()}
    assert not [path for path in drawn.iterdir() if path.name.startswith(".")]
    for name in PICTURES:
        assert cv2.imread(str(drawn / name)) is not None, name
    one, other = content(drawn / "last.pt"), content(bare / "last.pt")
    for key in ("raw", "model", "rng", "optimizer", "results"):
        assert_same(one[key], other[key], key)
    with pytest.raises(AssertionError):  # negative control
        assert_same(one["raw"], content(run("--epochs", "1") / "last.pt")["raw"])


def test_a_run_without_validation_images_leaves_what_it_can(project: Path) -> None:
    (project / "my.data").write_text("classes=2\ntrain=list.txt\nnames=my.names\n")
    names = {path.name for path in run("--epochs", "1", plots=True).iterdir()}
    assert {"results.png", "labels.jpg", "train_batch0.jpg"} <= names
    assert "PR_curve.png" not in names


def killed_in_epoch(number: int, patch: pytest.MonkeyPatch) -> None:
    real = loop.train_epoch

    def cut(parts: Any, epoch: int, *rest: Any) -> Any:
        if epoch == number:
            raise KeyboardInterrupt
        return real(parts, epoch, *rest)

    patch.setattr(loop, "train_epoch", cut)


def test_ctrl_c_names_the_epoch_saved_and_the_command_that_goes_on(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        killed_in_epoch(2, patch)
        with pytest.raises(KeyboardInterrupt):
            run("--epochs", "3", "--name", "my-base")
    assert "epoch 2 of 3 is saved in runs/train/my-base/last.pt" in caplog.text
    command = "python train.py --resume --name my-base"
    assert f"  {command}\n" in caplog.text
    assert f"  {command}\n" in (project / "runs/train/my-base/train.log").read_text()
    caplog.clear()
    folder = train.main(command.split()[2:])
    assert content(folder / "last.pt")["epoch"] == 3
    assert "runs/train/my-base: goes on with epoch 3 of 3, best so far is " in caplog.text
    with (folder / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "no epoch is saved yet, runs/train/my/last.pt holds the start"),
        (("--nosave",), "nothing is saved yet: runs/train/my/last.pt is written after the last"),
        (("--project", "mine"), "python train.py --resume mine/my"),
    ],
)
def test_ctrl_c_before_the_first_epoch_is_over(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    flags: tuple[str, ...],
    said: str,
) -> None:
    with monkeypatch.context() as patch:
        killed_in_epoch(0, patch)
        with pytest.raises(KeyboardInterrupt):
            run("--epochs", "2", *flags)
    assert said in caplog.text
    command = [line.split()[2:] for line in caplog.text.splitlines() if "  python train" in line]
    assert len(command) == ("--nosave" not in flags)
    for words in command:
        assert content(train.main(words) / "last.pt")["epoch"] == 2
        assert "goes on with epoch 1 of 2\n" in caplog.text


def test_a_name_that_is_taken_is_told_with_both_folders(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run("--epochs", "1", "--name", "a")
    assert "holds an earlier run" not in caplog.text
    assert "over those of an earlier run" not in caplog.text
    run("--epochs", "1", "--name", "a")
    assert (
        "runs/train/a: holds an earlier run, which stays; this one writes to runs/train/a-2"
        in caplog.text
    )
    copies = "weights/last.pt and weights/best.pt: copies of this run's, runs/train/a-2, over those"
    assert copies in caplog.text


@pytest.mark.parametrize(
    ("cfg", "flags", "script"),
    [
        ("my.cfg", (), "python compress.py --weights runs/train/my/best.pt "
                       "--keep-params 0.25 --data my.data --img-size 32"),
        ("my.cfg", ("-sr", "--s", "0.1"), "python slim_prune.py --weights "
                                          "runs/train/my/last.pt --max-map-drop 0.03 --round-to 8"),
        ("prune_0.5_my.cfg", (), "python export.py --weights runs/train/prune_0.5_my/best.pt"),
    ],
)  # fmt: skip
def test_the_end_says_what_was_left_and_what_comes_next(
    project: Path, capsys: pytest.CaptureFixture[str], cfg: str, flags: tuple[str, ...], script: str
) -> None:
    (project / cfg).write_text(CFG)
    run("--epochs", "1", "--cfg", cfg, *flags)
    said = capsys.readouterr().out
    assert f"\n  {script}" in said
    assert "best.pt: weights of the best epoch" in said
    assert "| best (1) |" in said
    assert ("|gamma| median" in said) == bool(flags)


def test_a_batch_of_one_value_per_channel_is_told_in_one_line(project: Path) -> None:
    (project / "my.cfg").write_text(CFG.replace("stride=4", "stride=16"))
    with pytest.raises(UserError, match=r"--batch-size: a batch of 1 at 32x32 px .* --img-size"):
        run("--epochs", "1", "--batch-size", "1")
    assert run("--epochs", "1", "--batch-size", "2").is_dir()  # negative control


def test_first_batch_names_the_classes(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[Any] = []
    real = loop.Record.batch
    monkeypatch.setattr(
        "utils.training.record.batch_sheet",
        lambda batch, names: named.append(names) or torch.zeros(8, 8, 3).byte().numpy(),
    )
    assert real is loop.Record.batch
    run("--epochs", "1", plots=True)
    assert named == [("blue", "red")] * 3


def test_matplotlib_does_not_slow_the_start(root: Path) -> None:
    code = """if True:
        import sys, utils.training.run, utils.runtimes.val.run
        before = "matplotlib" in sys.modules
        import utils.pictures.run_charts
        print(before, "matplotlib" in sys.modules)
    """
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"]  # the second: a negative control
