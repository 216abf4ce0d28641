"""train.py --hyp-from-cfg: which values the cfg gives, and that flags win."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import train
from tests.support.tiny_data import box_picture, write_sample
from utils.command.errors import UserError
from utils.training.flags import make_parser, typed_flags
from utils.training.losses.options import CFG_DECIDES
from utils.training.optimization.schedule import Schedule, epochs_for, make_schedule
from utils.training.options import TrainOptions

NET = """[net]
width=32
height=32
channels=3
batch=4
subdivisions=2
learning_rate=0.002
momentum=0.8
decay=0.001
burn_in=2
max_batches=20
policy=steps
steps=10,15
scales=0.1,0.5
mosaic=1
hue=0.1
saturation=1.5
exposure=1.25
angle=7
flip=0
"""
HEADS = {
    "yolo": (14, "anchors=8,8, 16,16\nrandom=1\njitter=0.3\n"),
    "Gaussian_yolo": (22, "anchors=8,8, 16,16\n"),
    "region": (14, "anchors=0.5,0.5, 1,1\nsoftmax=1\n"),
}


def cfg_text(kind: str = "yolo", net: str = NET) -> str:
    filters, rest = HEADS[kind]
    body = "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=2\npad=1\n"
    body += "activation=leaky\n[convolutional]\nsize=8\nstride=8\nactivation=linear\n"
    return f"{net}{body}filters={filters}\n[{kind}]\nnum=2\nclasses=2\n{rest}"


def parsed(tmp_path: Path, *flags: str, text: str = "") -> dict[str, Any]:
    path = tmp_path / "my.cfg"
    path.write_text(text or cfg_text())
    return typed_flags(make_parser(None, ("slim_prune",)), ["--cfg", str(path), *flags])


def schedule_of(options: TrainOptions, per_epoch: int) -> Schedule:
    return make_schedule(options.schedule, options.epochs, per_epoch, options.rates.momentum)


def test_the_cfg_gives_what_no_flag_does(tmp_path: Path) -> None:
    typed = parsed(tmp_path, "--hyp-from-cfg")
    wanted = {
        "batch_size": 2, "accumulate": 2, "optimizer": "sgd", "lr0": 0.002, "momentum": 0.8,
        "weight_decay": 0.001, "burn_in": 2, "max_batches": 20, "mosaic": 0.5, "hsv_h": 0.1,
        "hsv_s": 0.5, "hsv_v": 0.25, "degrees": 7, "flip": 0, "multi_scale": True,
    }  # fmt: skip
    assert {key: typed[key] for key in wanted} == wanted
    assert TrainOptions.of_flags(typed).loss.from_cfg == CFG_DECIDES
    assert epochs_for(20, 3) == 7


def test_flags_win(tmp_path: Path) -> None:
    flags = ["--lr0", "0.5", "--mosaic", "1", "--epochs", "9", "--batch-size", "1"]
    typed = parsed(tmp_path, "--hyp-from-cfg", *flags, "--box-loss", "diou", "--schedule", "cosine")
    options = TrainOptions.of_flags(typed)
    found = (options.rates.lr0, options.images.augment.mosaic, options.epochs)
    assert (*found, options.images.batch_size) == (0.5, 1, 9, 1)
    assert options.optimizer.accumulate == 4  # still 4 images per step
    assert options.schedule.max_batches is None
    assert options.loss.from_cfg == CFG_DECIDES - {"box_loss"}
    assert schedule_of(options, 10).kind == "cosine"


def test_without_the_flag_nothing_changes(tmp_path: Path) -> None:
    plain = parsed(tmp_path)
    assert plain["lr0"] is None
    assert plain["batch_size"] == 8
    assert not TrainOptions.of_flags(plain).loss.from_cfg


def test_burn_in_and_steps_are_those_of_darknet(tmp_path: Path) -> None:
    options = TrainOptions.of_flags(parsed(tmp_path, "--hyp-from-cfg"))
    schedule = schedule_of(replace(options, epochs=20), 1)
    factors = [schedule.lr_factor(step) for step in (0, 1, 9, 10, 14, 15, 19)]
    assert factors == pytest.approx([0.5**4, 1, 1, 0.1, 0.1, 0.05, 0.05])
    assert schedule.momentum_at(0) == pytest.approx(0.8)


def test_a_batch_of_one_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Published cfgs say batch=1, for testing: training so is seldom meant."""
    text = cfg_text(net=NET.replace("batch=4\nsubdivisions=2", "batch=1\nsubdivisions=1"))
    assert parsed(tmp_path, "--hyp-from-cfg", text=text)["batch_size"] == 1
    (record,) = caplog.records
    assert "batch 1 comes from the cfg" in record.getMessage()
    caplog.clear()
    parsed(tmp_path, "--hyp-from-cfg", "--batch-size", "8", text=text)
    parsed(tmp_path, "--hyp-from-cfg", "--batch-size", "1")
    parsed(tmp_path, "--hyp-from-cfg")
    parsed(tmp_path, text=text)
    assert not caplog.records


def test_an_unknown_policy_is_refused(tmp_path: Path) -> None:
    text = cfg_text(net=NET.replace("policy=steps", "policy=poly"))
    with pytest.raises(UserError, match=r"my.cfg:\d+: \[net\] policy: 'poly'"):
        parsed(tmp_path, "--hyp-from-cfg", text=text)
    assert parsed(tmp_path, "--hyp-from-cfg", "--schedule", "step", text=text)["lr_marks"] == []


@pytest.mark.parametrize("kind", list(HEADS))
def test_every_kind_of_head_trains(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    row = (0, 11 / 32, 14 / 32, 14 / 32, 12 / 32)
    for k in range(4):
        write_sample(tmp_path, f"{k}.png", box_picture(32, 32, 4, 8, 18, 20), [row])
    (tmp_path / "list.txt").write_text("".join(f"images/{k}.png\n" for k in range(4)))
    (tmp_path / "my.names").write_text("a\nb\n")
    (tmp_path / "my.data").write_text("classes=2\ntrain=list.txt\nvalid=list.txt\nnames=my.names\n")
    (tmp_path / "my.cfg").write_text(cfg_text(kind).replace("max_batches=20", "max_batches=6"))
    flags = ["--cfg", "my.cfg", "--data", "my.data", "--hyp-from-cfg", "--device", "cpu"]
    folder = train.main([*flags, "--notest", "--mosaic", "0", "--amp", "off"])
    saved = json.loads((folder / "args.json").read_text())
    assert saved["epochs"] == 6
    lines = (folder / "results.csv").read_text().splitlines()
    column = lines[0].split(",").index("loss/total")
    losses = [float(line.split(",")[column]) for line in lines[1:]]
    assert losses[-1] < losses[0]
