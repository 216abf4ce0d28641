"""A training as a function: without a command line, and with the checkpoints of earlier builds."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import train
from models import Darknet
from tests.support.nets import conv, head, net
from tests.support.tiny_data import make_set
from utils.cfg import format_cfg
from utils.data.options import AugmentOptions
from utils.training.build import Resumed
from utils.training.checkpoint import load_for_resume
from utils.training.flags import make_parser
from utils.training.options import ImageOptions, MachineOptions, TrainOptions
from utils.training.run import train_network
from utils.training.run_folder import RunFolder
from utils.training.sparse.options import SparsityOptions

MINE = TrainOptions(
    cfg="my.cfg",
    data="my.data",
    epochs=2,
    seed=3,
    images=ImageOptions(size=(32, 32), batch_size=2, augment=AugmentOptions(mosaic=0.5)),
    machine=MachineOptions(device="cpu"),
)
TYPED = [
    "--cfg", "my.cfg", "--data", "my.data", "--epochs", "2", "--seed", "3", "--img-size", "32",
    "--batch-size", "2", "--mosaic", "0.5", "--device", "cpu",
]  # fmt: skip
# args.json of commit 5c8975c, for TYPED and --name old: what its checkpoints hold as "args".
ARGS_OF_5C8975C = """{
"cfg": "my.cfg", "data": "my.data", "weights": "", "strict_weights": false, "masks": "",
"cutoff": null, "transfer": false, "freeze": 0, "freeze_bn": false, "name": "old", "resume": null,
"nosave": false, "notest": false, "seed": 3, "device": "cpu", "threads": null, "workers": -1,
"cache_images": false, "img_weights": false, "strict": false, "hyp_from_cfg": false, "hyp": null,
"epochs": 2, "batch_size": 2, "accumulate": 1, "img_size": [32], "multi_scale": false,
"rect": false, "fit": "cfg", "nms": "cfg", "optimizer": "adamw", "lr0": 0.0015, "lrf": 0.01,
"schedule": "cosine", "warmup_epochs": 2.0, "momentum": 0.9, "weight_decay": 0.0005,
"clip_norm": 10.0, "patience": 0, "ema": true, "amp": "auto", "channels_last": true,
"compile": false, "sync_bn": false, "box_loss": "ciou", "box_gain": null, "obj_gain": null,
"cls_gain": null, "iou_t": 0.2, "obj_target": "iou", "ignore_thresh": null, "label_smoothing": 0.0,
"sparsity_regularization": false, "s": 0.001, "sparsity_update": "subgradient",
"sparsity_schedule": "constant", "decay_at": 0.5, "decay_factor": 0.01, "keep_percent": 0.85,
"prune": 1, "strategy": null, "sparsity_plan": null, "remeasure": 0, "t_cfg": "", "t_weights": "",
"distill": ["response"], "distill_gain": 1.0, "feature_gain": 5.0, "feature_loss": "cwd",
"temperature": 3.0, "t_plan": null, "mosaic": 0.5, "hsv_h": 0.015, "hsv_s": 0.7, "hsv_v": 0.4,
"flip": 0.5, "degrees": 0.0, "translate": 0.1, "scale": 0.5, "shear": 0.0, "min_visible": 0.1,
"min_side_px": 2.0, "close_mosaic": 5, "loss_from_cfg": [], "lr_marks": [], "burn_in": null,
"max_batches": null}"""
# Flags that came later.
SINCE = {
    "project": "runs/train", "exist_ok": False, "noplots": False, "unlabelled": "",
    "t_img_size": None, "int8": False, "keep_images_mb": None, "sparsity_penalty": "gammas",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cfg and a data set in the working directory."""
    make_set(tmp_path)
    (tmp_path / "my.names").write_text("a\nb\n")
    (tmp_path / "my.data").write_text("classes=2\ntrain=list.txt\nvalid=list.txt\nnames=my.names\n")
    (tmp_path / "my.cfg").write_text(format_cfg(net(conv(8, stride=2), conv(8, stride=4), head())))
    monkeypatch.chdir(tmp_path)


def last(run: RunFolder | Path) -> dict[str, Any]:
    folder = run if isinstance(run, Path) else run.path
    loaded = torch.load(folder / "last.pt", weights_only=True)
    assert isinstance(loaded, dict)
    return loaded


def same_weights(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(
        torch.equal(a[part][key], b[part][key]) for part in ("model", "raw") for key in a[part]
    )


def test_five_lines_train_a_network() -> None:
    run = train_network(TrainOptions(cfg="my.cfg", data="my.data", epochs=1), Darknet)
    names = {path.name for path in run.path.iterdir()}
    assert {"last.pt", "best.pt", "args.json", "results.csv"} <= names
    assert last(run)["epoch"] == 1
    assert json.loads((run.path / "args.json").read_text()) == last(run)["args"]


def test_a_call_trains_as_the_command_does() -> None:
    called = last(train_network(MINE, Darknet, train.pulled))
    typed = last(train.main(TYPED))
    assert same_weights(called, typed)
    for row, other in zip(called["results"], typed["results"], strict=True):
        assert {k: v for k, v in row.items() if not k.startswith("time/")} == {
            k: v for k, v in other.items() if not k.startswith("time/")
        }
    other = last(train_network(replace(MINE, seed=4), Darknet, train.pulled))
    assert not same_weights(other, typed)  # negative control


def test_a_call_trains_sparsely_where_it_says_what_to_pull() -> None:
    sparse = replace(MINE, sparsity=SparsityOptions(on=True, strength=0.5))
    with pytest.raises(ValueError, match="the gammas to pull"):
        train_network(sparse, Darknet)
    assert not Path("runs").exists()
    pulled, plain = (
        last(train_network(options, Darknet, train.pulled)) for options in (sparse, MINE)
    )
    assert pulled["args"]["optimizer"] == "sgd"  # what the run decides itself is saved
    medians = [content["results"][-1]["gamma/median"] for content in (pulled, plain)]
    assert medians[0] != medians[1]


def test_the_args_of_a_run_are_those_of_earlier_builds() -> None:
    run = train.main([*TYPED, "--name", "old"])
    wanted = json.loads(ARGS_OF_5C8975C) | SINCE
    assert last(run)["args"] == wanted
    assert json.loads((run / "args.json").read_text()) == wanted


def test_a_run_goes_on_by_a_call_by_the_command_and_from_a_checkpoint_of_earlier() -> None:
    begun = train.main([*TYPED, "--name", "old"])
    for name in ("called", "other"):
        shutil.copytree(begun, begun.with_name(name))
    checkpoint = last(begun)
    torch.save({**checkpoint, "args": json.loads(ARGS_OF_5C8975C)}, begun / "last.pt")
    typed = last(train.main(["--resume", str(begun), "--epochs", "3"]))
    assert typed["epoch"] == 3
    assert typed["args"] == {
        **json.loads(ARGS_OF_5C8975C), **SINCE, "resume": str(begun), "epochs": 3
    }  # fmt: skip

    def called(name: str, **changed: Any) -> dict[str, Any]:
        folder = RunFolder(begun.with_name(name))
        resumed = Resumed(folder, load_for_resume(folder.last))
        options = TrainOptions.of_flags(resumed.checkpoint["args"])
        return last(train_network(replace(options, **changed), Darknet, train.pulled, resumed))

    assert same_weights(called("called", epochs=3), typed)
    assert not same_weights(called("other", epochs=4), typed)  # negative control


def test_a_project_of_its_own_and_a_run_that_may_be_replaced() -> None:
    place = ["--project", "mine", "--name", "a"]
    first = train.main([*TYPED, *place])
    assert first == Path("mine/a")
    assert train.main([*TYPED, *place]) == Path("mine/a-2")
    before = (first / "last.pt").stat().st_mtime_ns
    assert train.main([*TYPED, *place, "--exist-ok", "--epochs", "1"]) == first
    assert (first / "last.pt").stat().st_mtime_ns > before
    assert last(train.main(["--resume", *place, "--epochs", "2"]))["epoch"] == 2


def test_cache_images_as_other_programs_say_it() -> None:
    parser = make_parser(None, ("prune",))
    for words, wanted in (([], False), (["--cache"], True), (["--cache", "ram"], True)):
        assert parser.parse_args(words).cache_images is wanted
    with pytest.raises(SystemExit):
        parser.parse_args(["--cache", "disk"])
    assert parser.parse_args(["--optimizer", "SGD"]).optimizer == "sgd"
