"""train.py --int8: what is trained is what is scored, saved, gone on with and exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import train
from models import Darknet
from tests.support.nets import conv, head, healthy_state, net
from tests.support.tiny_data import make_set
from utils.cfg import format_cfg
from utils.command.errors import UserError
from utils.detection.options import Inputs, Scoring
from utils.network.int8.convert import put_on_grids, ranges_of
from utils.network.int8.saved import ranges_in
from utils.runtimes.choose import torch_backend, with_weights
from utils.runtimes.val.options import ValOptions
from utils.runtimes.val.run import evaluate_files
from utils.training import loop
from utils.training.options import (
    EpochOptions,
    ImageOptions,
    MachineOptions,
    StartOptions,
    TrainOptions,
)
from utils.training.run import train_network
from utils.training.sparse.options import SparsityOptions

MINE = TrainOptions(
    cfg="my.cfg",
    data="my.data",
    epochs=2,
    int8=True,
    start=StartOptions("my.weights"),
    images=ImageOptions(size=(32, 32), batch_size=2),
    machine=MachineOptions(device="cpu"),
    after_epoch=EpochOptions(noplots=True),
)


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_set(tmp_path)
    (tmp_path / "my.names").write_text("a\nb\n")
    (tmp_path / "my.data").write_text("classes=2\ntrain=list.txt\nvalid=list.txt\nnames=my.names\n")
    (tmp_path / "my.cfg").write_text(format_cfg(net(conv(8, stride=2), conv(8, stride=4), head())))
    monkeypatch.chdir(tmp_path)
    model = Darknet("my.cfg")
    model.load_state(healthy_state(model))
    model.save_weights("my.weights")


def saved(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(path, weights_only=True)
    return found


def test_a_run_holds_its_ranges_and_plain_weights() -> None:
    run = train_network(MINE, Darknet)
    best, last = saved(run.best), saved(run.last)
    assert set(best["model"]) == set(Darknet("my.cfg").state_dict())
    assert set(ranges_in(best, "best")) == {"image", "0", "0-sum", "1", "1-sum"}
    assert last["int8_raw"] != last["int8"]  # the average lags behind
    assert last["args"]["t_weights"] == "my.weights" and last["args"]["amp"] == "off"
    assert last["args"]["lr0"] == pytest.approx(0.00015)
    assert "loss/kd" in last["results"][0]


def test_batch_normalisation_keeps_its_statistics_and_all_else_learns() -> None:
    before = Darknet("my.cfg").load_weights("my.weights").state_dict()
    after = saved(train_network(MINE, Darknet).last)["raw"]
    for key, tensor in before.items():
        assert torch.equal(tensor, after[key]) == ("running" in key), key


def test_a_resumed_run_ends_with_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_network(replace(MINE, name="whole"), Darknet)
    finish = loop.finish_epoch

    def killed(*args: Any) -> bool:
        finish(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "finish_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            train_network(replace(MINE, name="cut"), Darknet)
    cut = train.main(["--resume", "--name", "cut"])
    one, other = saved(whole.last), saved(cut / "last.pt")
    for key in ("model", "raw"):
        assert all(torch.equal(one[key][k], other[key][k]) for k in one[key])
    assert one["int8"] == other["int8"] and one["int8_raw"] == other["int8_raw"]


def test_val_scores_the_rounded_network() -> None:
    run = train_network(MINE, Darknet)
    network = Darknet("my.cfg", (32, 32))
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    predict = torch_backend(with_weights(network, run.best))
    twin = Darknet("my.cfg", (32, 32)).load_weights(run.best)
    in_float = twin.eval().fuse()(images)
    put_on_grids(twin, ranges_in(saved(run.best), "best"))
    assert torch.allclose(predict(images), twin.eval()(images), atol=1e-4)
    assert not torch.allclose(predict(images), in_float, atol=1e-2)
    inputs = Inputs("my.cfg", str(run.best), (32, 32))
    scored = evaluate_files(ValOptions(inputs, Scoring("my.data")), Darknet)
    told = saved(run.last)["results"][-1]
    assert scored.map50 == pytest.approx(told["val/map50"])


def test_what_does_not_go_with_it() -> None:
    for wrong, why in (
        (replace(MINE.start, weights=""), "--weights"),
        (SparsityOptions(on=True), "prune before"),
        (MachineOptions(amp="bf16"), "--amp"),
    ):
        name = {StartOptions: "start", SparsityOptions: "sparsity"}.get(type(wrong), "machine")
        with pytest.raises(UserError, match=why):
            replace(MINE, **{name: wrong})


def test_ranges_of_another_network_are_refused() -> None:
    model = Darknet("my.cfg").load_weights("my.weights")
    put_on_grids(model)
    ranges = dict.fromkeys(ranges_of(model), (0.0, 1.0))
    with pytest.raises(UserError, match="another network"):
        put_on_grids(model, {**ranges, "7": (0.0, 1.0)})


@pytest.mark.parametrize(
    "wrong", [3, [1.0, 2.0], {"0": 1.0}, {"0": (1.0, float("nan"))}, {"0": (2.0, 1.0)}, {3: (0, 1)}]
)
def test_what_are_no_ranges(wrong: object) -> None:
    with pytest.raises(UserError, match="no ranges"):
        ranges_in({"int8": wrong}, "a.pt")
    assert ranges_in({}, "a.pt") == {}
