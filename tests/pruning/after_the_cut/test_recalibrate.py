"""BN statistics measured again after pruning; and importance by the loss, from the command line."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from layer_prune import STRATEGY as LAYERS
from models import Darknet
from slim_prune import STRATEGY as SLIM
from tests.support.nets import conv, head, healthy, image, net, section
from tests.support.prune_case import prune_by_flags
from tests.support.tiny_data import make_set
from utils.cfg import load_cfg, plain_text
from utils.command.errors import UserError
from utils.network.layers.modules import DarknetBatchNorm
from utils.pruning.recalibrate import recalibrate_
from utils.pruning.report.result import Pruned


def small() -> Darknet:
    """A network with a shortcut and two activations."""
    branch = [conv(6), section("shortcut", frm=-2)]
    return healthy(net(conv(6, stride=2), *branch, conv(8, activation="mish"), head()))


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def with_torch_average(model: Darknet) -> Darknet:
    """A copy with torch's own BatchNorm2d, which averages cumulatively (momentum=None)."""
    twin = copy.deepcopy(model)
    for layer in twin.layers:
        if isinstance(getattr(layer, "bn", None), DarknetBatchNorm):
            old = layer.bn
            layer.bn = nn.BatchNorm2d(old.num_features, eps=old.eps, momentum=None)
            layer.bn.load_state_dict(old.state_dict(), strict=False)
    twin.eval()
    for norm in norms(twin):
        norm.train()
    return twin


def statistics(model: nn.Module) -> list[Tensor]:
    found = [(norm.running_mean, norm.running_var) for norm in norms(model)]
    return [tensor.clone() for pair in found for tensor in pair if tensor is not None]


def test_equals_torch_s_cumulative_average() -> None:
    model = small()
    batches = [image(model, seed, batch=3) for seed in range(4)]
    twin = with_torch_average(model)
    with torch.no_grad():
        for batch in batches:
            twin(batch)
    before = statistics(model)
    assert recalibrate_(model, batches) == 12
    for ours, theirs, old in zip(statistics(model), statistics(twin), before, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(ours, old, rtol=1e-3, atol=1e-4)


def test_batches_count_by_their_images() -> None:
    model = small()
    batches = [image(model, seed, batch=size) for seed, size in enumerate((4, 2, 3))]
    kernel = model.layers[0].get_parameter("conv.weight")
    values = [nn.functional.conv2d(x, kernel, stride=2, padding=1) for x in batches]
    mean = sum(len(v) * v.mean((0, 2, 3)) for v in values) / 9
    variance = sum(len(v) * v.var((0, 2, 3), unbiased=True) for v in values) / 9
    recalibrate_(model, batches)
    torch.testing.assert_close(statistics(model)[0], mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(statistics(model)[1], variance, rtol=1e-5, atol=1e-6)
    evenly = sum(v.mean((0, 2, 3)) for v in values) / 3
    assert not torch.allclose(statistics(model)[0], evenly, rtol=1e-5, atol=1e-6)


def test_leaves_all_else_as_it_was() -> None:
    model = small()
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    for training in (True, False):
        model.train(training)
        recalibrate_(model, [image(model)])
        assert all(module.training == training for module in model.modules())
    assert all(norm.momentum == 0.1 for norm in norms(model))
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[key]) != ("running" in key), key


def test_without_a_batch_nothing_changes() -> None:
    model = small()
    before = statistics(model)
    assert recalibrate_(model, []) == 0
    assert all(torch.equal(a, b) for a, b in zip(statistics(model), before, strict=True))


def test_repairs_wrong_statistics() -> None:
    """The purpose: outputs come back when the statistics were off."""
    model = small()
    batches = [image(model, seed, batch=4) for seed in range(3)]
    recalibrate_(model, batches)
    with torch.no_grad():
        wanted = model(batches[0])
        for norm in norms(model):
            assert norm.running_mean is not None
            norm.running_mean += 0.5
        off = (model(batches[0]) - wanted).abs().max()
        recalibrate_(model, batches)
        assert (model(batches[0]) - wanted).abs().max() < 1e-3 * off


# -- in the pruning scripts ------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """my.cfg, my.weights, and my.data with six images; the working directory."""
    model = small()
    (tmp_path / "my.cfg").write_text(plain_text(model.cfg))
    model.save_weights(tmp_path / "my.weights")
    make_set(tmp_path)
    (tmp_path / "my.names").write_text("a\nb\n")
    (tmp_path / "my.data").write_text("classes=2\ntrain=list.txt\nvalid=list.txt\nnames=my.names\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def slim(*flags: str) -> Pruned:
    common = ["--cfg", "my.cfg", "--weights", "my.weights", "--global-percent", "0.4"]
    rest = ["--device", "cpu", "--workers", "0", "--batch-size", "2"]
    found = prune_by_flags(SLIM, [*common, *rest, *flags])
    assert isinstance(found, Pruned)
    return found


def written(pruned: Pruned) -> dict[str, Tensor]:
    model = Darknet(load_cfg(pruned.cfg_path))
    return model.load_weights(pruned.weights_path).state_dict()


def test_the_recalibrated_state_is_what_is_written(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folded = slim("--data", "my.data")
    assert folded.recalibration is None
    anew = slim("--data", "my.data", "--recalibrate", "5", "--force")
    # Two batches of two; a fifth image alone has no variance of its own.
    assert anew.recalibration is not None
    assert anew.recalibration.images == 4
    assert anew.recalibration.folded.map50 == folded.after.map50
    assert anew.after is anew.recalibration.after
    assert "BN statistics measured again on 4 training images: mAP@.5" in capsys.readouterr().out
    found = written(anew)
    assert found.keys() == anew.state.keys()
    for key, tensor in found.items():
        assert torch.equal(tensor, anew.state[key])
        assert torch.equal(tensor, folded.state[key]) != ("running" in key), key


def test_the_report_says_what_it_was_worth(project: Path) -> None:
    found = slim("--data", "my.data", "--recalibrate", "4", "--report", "out")
    assert found.recalibration is not None
    record = json.loads((project / "out" / "report.json").read_text())
    assert record["recalibration"]["images"] == 4
    assert record["recalibration"]["folded"]["map50"] == found.recalibration.folded.map50
    assert record["metrics"]["after"]["map50"] == found.recalibration.after.map50
    assert str(found.recalibration) in (project / "out" / "report.html").read_text()


def test_recalibration_follows_its_seed(project: Path) -> None:
    flags = ["--data", "my.data", "--recalibrate", "4", "--dry-run"]
    first, again, other = (slim(*flags, "--seed", seed).state for seed in ("0", "0", "1"))
    assert all(torch.equal(tensor, again[key]) for key, tensor in first.items())
    assert any(not torch.equal(tensor, other[key]) for key, tensor in first.items())


def test_taylor_from_the_command_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taylor = ["--data", "my.data", "--importance", "taylor", "--taylor-batches", "2"]
    found = slim(*taylor)
    assert written(found).keys() == found.state.keys()
    assert "Threshold on |gamma dL/dgamma|" in capsys.readouterr().out
    again = slim(*taylor, "--force")
    assert (found.plan.keep == again.plan.keep).all()
    assert (found.plan.keep != slim("--force").plan.keep).any()


def test_taylor_takes_every_kind_of_head(project: Path) -> None:
    """A loss is all that it needs, and [region] has one."""
    last = conv(14, 1, batch_normalize=None, activation="linear")
    region = section("region", anchors="1,1,2,2", num=2, classes=2, softmax=1)
    model = healthy(net(conv(6, stride=2), conv(6), last, region))
    (project / "my.cfg").write_text(plain_text(model.cfg))
    model.save_weights("my.weights")
    taylor = slim("--data", "my.data", "--importance", "taylor", "--taylor-batches", "1")
    assert not taylor.plan.keep.all()
    (project / "my.cfg").write_text(plain_text(net(conv(6))))
    model = healthy(net(conv(6)))
    model.save_weights("my.weights")
    with pytest.raises(UserError, match="nets with heads"):
        slim("--data", "my.data", "--importance", "taylor", "--force")


@pytest.mark.parametrize("kind", ["bn-act", "l1", "l2", "fpgm", "lamp", "random"])
def test_other_kinds_need_no_data(kind: str, project: Path) -> None:
    found = slim("--importance", kind, "--dry-run")
    assert not found.weights_path.exists()
    assert not found.plan.keep.all()


def test_blocks_are_ranked_by_scores_as_they_are(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Divided by their layer's mean, all blocks would score 1."""
    flags = ["--cfg", "my.cfg", "--weights", "my.weights", "--shortcuts", "1", "--device", "cpu"]
    prune_by_flags(LAYERS, [*flags, "--importance", "l2", "--dry-run"])
    said = capsys.readouterr().out
    assert "mean kernel's L2 norm" in said
    state = Darknet("my.cfg").load_weights("my.weights").state_dict()
    gamma, variance = state["layers.1.bn.weight"], state["layers.1.bn.running_var"]
    norms_ = state["layers.1.conv.weight"].flatten(1).norm(dim=1) * gamma.abs()
    wanted = float((norms_ / (variance + 1e-5).sqrt()).mean())
    assert wanted != pytest.approx(1, abs=1e-2)
    assert f"{wanted:.4f}" in said


def test_sparseness_stands_before_the_table(
    project: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        slim("--dry-run")
    said = capsys.readouterr().out
    assert said.index("Sparseness") < said.index("| layer")
    assert any("the model is dense" in message for message in caplog.messages)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--recalibrate", "8"], "--recalibrate: needs --data"),
        (["--importance", "taylor"], "--importance taylor: needs --data"),
        (["--recalibrate", "8", "--data", "one.data"], "no more than one readable"),
        (["--recalibrate", "8", "--data", "no_train.data"], "no 'train=' line"),
    ],
)
def test_what_is_measured_needs_images(project: Path, flags: Sequence[str], said: str) -> None:
    (project / "one.txt").write_text("images/1.png\n")
    for name, train in (("one", "train=one.txt\n"), ("no_train", "")):
        (project / f"{name}.data").write_text(f"classes=2\n{train}valid=list.txt\nnames=my.names\n")
    before = sorted(project.iterdir())
    with pytest.raises(UserError, match=said):
        slim(*flags)
    assert sorted(project.iterdir()) == before


@pytest.mark.parametrize(
    "flags", [["--recalibrate", "1"], ["--seed", "-1"], ["--importance", "l3"]]
)
def test_bad_flags_are_one_line(
    project: Path, flags: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        slim(*flags)
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
