"""How sparse a model is: the score, the free channels, the warnings; and sparsity.py."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import sparsity
from layer_prune import STRATEGY as LAYERS
from models import Darknet
from prune import STRATEGY as PLAIN
from slim_prune import STRATEGY as SLIM
from tests.support.nets import conv, head, healthy, net, section
from utils.cfg import plain_text
from utils.command.cli import run_main
from utils.command.errors import UserError
from utils.command.files import atomic_write
from utils.network.graph import channel_graph
from utils.pruning.candidates import prunable_channels
from utils.pruning.importance.sparseness import (
    Sparseness,
    concerns,
    drift,
    free_channels,
    gini,
    measure_sparseness,
    summary,
)
from utils.pruning.strategy import Strategy

Fill = Callable[[Tensor], Tensor]  # the old gammas of a layer (C,) -> the new ones


def plain() -> Darknet:
    """Three convolutions in a row, and a head."""
    return healthy(net(conv(20), conv(40, activation="mish"), conv(20, 1), head()))


def residual() -> Darknet:
    """A stem, one branch that is added to it, and a head."""
    branch = [conv(8, 1), conv(20, activation="linear"), section("shortcut", frm=-3)]
    return healthy(net(conv(20), *branch, conv(16), head()))


def with_gammas(model: Darknet, fill: Fill, *layers: int) -> Darknet:
    """The model, changed: `fill` of its gammas (all, or those of `layers`)."""
    for key, tensor in model.state_dict().items():
        if key.endswith("bn.weight") and (not layers or int(key.split(".")[1]) in layers):
            tensor.copy_(fill(tensor))
    return model


def share_at(value: float, share: float, others: float = 1.0) -> Fill:
    """The first `share` of each layer's gammas at `value`, the others at `others`."""

    def fill(gammas: Tensor) -> Tensor:
        filled = torch.full_like(gammas, others)
        filled[: round(share * len(gammas))] = value
        return filled

    return fill


def spread(low: float, high: float, seed: int = 0) -> Fill:
    """Evenly drawn between `low` and `high`."""
    generator = torch.Generator().manual_seed(seed)
    return lambda gammas: low + (high - low) * torch.rand(gammas.shape, generator=generator)


def measured(model: Darknet, strategy: Strategy = SLIM) -> Sparseness:
    graph = channel_graph(model.rules)
    return measure_sparseness(graph, model.state_dict(), prunable_channels(graph, strategy))


# -- the score -------------------------------------------------------------------------------


def test_gini_by_hand() -> None:
    assert gini(np.ones(5)) == pytest.approx(0)
    assert gini(np.array([0, 0, 0, 7.0])) == pytest.approx(0.75)
    assert gini(np.array([1.0, 3.0])) == pytest.approx(0.25)
    assert gini(np.array([3.0, 1.0]) * 1e-6) == pytest.approx(0.25)
    assert gini(np.zeros(3)) == gini(np.empty(0)) == 0


@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_score_is_the_share_of_zeros_when_the_others_are_equal(share: float) -> None:
    found = measured(with_gammas(plain(), share_at(0.0, share)))
    assert found.score == pytest.approx(share)
    assert found.free == pytest.approx(share)
    assert found.channels == 80
    assert found.in_use == 1


def test_figures_of_known_gammas() -> None:
    found = measured(with_gammas(plain(), share_at(0.25, 0.75)))
    assert found.median == 0.25
    assert found.mean == pytest.approx(0.25 * 0.75 + 0.25)
    assert [layer.index for layer in found.layers] == [0, 1, 2]
    assert found.layers[1].channels == 40
    assert found.layers[1].quantiles == (0.25, 0.25, 0.25, 0.25, pytest.approx(0.4375), 1, 1)
    assert "Sparseness" in summary(found)


def test_only_the_strategy_s_channels_count() -> None:
    model = residual()
    assert measured(model).channels == 20 + 8 + 20 + 16
    assert measured(model, PLAIN).channels == 8 + 16  # a shortcut adds up the others
    assert measured(model, LAYERS).channels == 20  # the last convolution of the only block


def test_without_gammas_all_is_zero() -> None:
    model = healthy(net(conv(4, batch_normalize=None), head()))
    found = measured(model)
    assert (found.score, found.free, found.median, found.channels) == (0, 0, 0, 0)


# -- what costs nothing ----------------------------------------------------------------------


def free_of(model: Darknet, layer: int) -> list[bool]:
    found: list[bool] = free_channels(channel_graph(model.rules), model.state_dict())[
        layer
    ].tolist()
    return found


def test_a_constant_is_free_and_so_is_what_never_passes_a_relu() -> None:
    model = healthy(net(conv(4, activation="relu"), head()))
    state = model.state_dict()
    state["layers.0.bn.weight"].copy_(torch.tensor([0.0, 0.5, 1.0, 0.005]))
    state["layers.0.bn.bias"].copy_(torch.tensor([5.0, -9.0, 0.3, 0.3]))
    assert free_of(model, 0) == [True, True, False, True]
    state["layers.0.bn.bias"].copy_(torch.tensor([5.0, 0.0, 0.3, 0.3]))
    assert free_of(model, 0) == [True, False, False, True]


def test_a_layer_is_measured_by_itself_unless_a_shortcut_adds_it_to_others() -> None:
    """Normalisation behind a layer makes up for its scale, but not inside a sum."""
    shrink: Fill = lambda gammas: torch.full_like(gammas, 1e-4)  # noqa: E731
    in_a_row = with_gammas(plain(), shrink, 1)
    assert not any(free_of(in_a_row, 1))
    branch = with_gammas(with_gammas(residual(), share_at(1, 1)), shrink, 2)
    assert all(free_of(branch, 2))
    assert not any(free_of(branch, 0))


# -- warnings --------------------------------------------------------------------------------


def test_a_dense_model_is_told() -> None:
    (concern,) = concerns(measured(with_gammas(plain(), spread(0.5, 1.5))), 0.5)
    assert "the model is dense" in concern


def test_gammas_that_are_small_together_are_told() -> None:
    (concern,) = concerns(measured(with_gammas(plain(), spread(0, 0.03))), 0.5)
    assert "small together" in concern


def test_weak_gammas_in_use_are_told() -> None:
    (concern,) = concerns(measured(with_gammas(plain(), share_at(1e-6, 0.6, 0.01))), 0.5)
    assert "even the channels in use have small gammas" in concern


def test_a_sparse_model_is_fine_up_to_its_free_share() -> None:
    found = measured(with_gammas(plain(), share_at(1e-4, 0.6)))
    assert found.free == pytest.approx(0.6)
    assert concerns(found) == concerns(found, 0.6) == []
    (concern,) = concerns(found, 0.9)
    assert "0.9 takes more than the 0.60" in concern


def drifted(before: Fill, after: Fill) -> list[str]:
    models = [with_gammas(plain(), fill) for fill in (before, after)]
    found = [measured(model) for model in models]
    return list(drift(*found, (models[0].state_dict(), models[1].state_dict())))


def test_gammas_that_move_together_are_told() -> None:
    (concern,) = drifted(spread(0.95, 1.05), spread(0.4, 0.6))
    assert "move together" in concern
    assert drifted(spread(0.95, 1.05), share_at(0.01, 0.7)) == []
    assert drifted(spread(0.95, 1.05), spread(0.9, 1.0)) == []
    assert drifted(share_at(0.1, 0.7), share_at(0.01, 0.7)) == []


def test_gammas_that_overshoot_zero_are_told() -> None:
    (concern,) = drifted(share_at(0.01, 0.5), share_at(-0.01, 0.5))
    assert concern.startswith("50% of the gammas changed sign")
    assert drifted(share_at(-0.01, 0.5), share_at(-0.01, 0.5)) == []


# -- sparsity.py -----------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """my.cfg with dense.pt and sparse.weights; the working directory."""
    model = with_gammas(plain(), spread(0.8, 1.2))
    (tmp_path / "my.cfg").write_text(plain_text(model.cfg))
    with atomic_write(tmp_path / "dense.pt") as file:
        torch.save({"model": model.state_dict()}, file)
    with_gammas(model, share_at(1e-4, 0.7)).save_weights(tmp_path / "sparse.weights")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_script_compares_checkpoints_and_draws(
    project: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.WARNING):
        found = sparsity.main(["--cfg", "my.cfg", "--weights", "dense.pt", "sparse.weights"])
    assert [one.free for one in found] == pytest.approx([0, 0.7])
    assert found[0].score < 0.15 < 0.65 < found[1].score
    picture = (project / "sparse_gammas.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000
    said = capsys.readouterr().out
    assert "dense" in said
    assert "0.7000" in said
    assert "sparse: sparse enough, about 70% of its channels can go" in said
    assert not caplog.messages  # the first of several is meant to be dense
    assert sorted(path.name for path in project.iterdir()) == [
        "dense.pt", "my.cfg", "sparse.weights", "sparse_gammas.png",
    ]  # fmt: skip
    with caplog.at_level(logging.WARNING):
        sparsity.main(["--cfg", "my.cfg", "--weights", "sparse.weights", "dense.pt"])
    assert caplog.messages[0].startswith("dense: the model is dense")


def test_script_takes_a_name_and_a_strategy_that_has_nothing_to_remove(project: Path) -> None:
    flags = ["--cfg", "my.cfg", "--weights", "sparse.weights", "--strategy", "layer_prune"]
    (found,) = sparsity.main([*flags, "--output", "picture.png"])
    assert found.channels == 0
    assert (project / "picture.png").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--weights", "none.pt"], "none.pt: no such file"),
        (["--weights", "other.weights"], "numbers are missing"),
        (["--weights", "bad.weights"], "not finite numbers"),
        (["--weights", "sparse.weights", "--output", "nowhere/g.png"], "cannot be written"),
        (["--weights", "sparse.weights", "--cfg", "none.cfg"], "none.cfg"),
    ],
)
def test_script_s_errors_are_one_line(
    project: Path,
    flags: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    healthy(net(conv(4), head())).save_weights("other.weights")
    with_gammas(plain(), share_at(float("nan"), 0.1)).save_weights("bad.weights")
    before = sorted(project.iterdir())
    monkeypatch.setattr(sys, "argv", ["sparsity.py", "--cfg", "my.cfg", *flags])
    with pytest.raises(SystemExit) as stopped:
        run_main(sparsity.main)
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert sorted(project.iterdir()) == before


def test_a_model_that_does_not_fit_is_refused(project: Path) -> None:
    (project / "other.cfg").write_text(plain_text(residual().cfg))
    with pytest.raises(UserError, match="does not fit"):
        sparsity.main(["--cfg", "other.cfg", "--weights", "dense.pt"])
