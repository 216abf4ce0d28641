"""The pull on all weights that go with a channel: group norm and growing regularisation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import layer_prune
import train
from models import Darknet
from slim_prune import STRATEGY
from tests.support.nets import conv, head, healthy, net, section
from tests.support.prune_case import prune_by_flags
from tests.support.training_project import assert_same, content, run
from utils.cfg import plain_text
from utils.command.errors import UserError
from utils.network.graph import ChannelGraph, channel_graph
from utils.network.weights import key_of
from utils.pruning.choice.coupled_targets import coupled_targets
from utils.pruning.importance.coupled import group_norm
from utils.pruning.plan import keep_everything
from utils.pruning.sensitivity.groups import find_groups
from utils.pruning.surgery import prune
from utils.training import checkpoint as checkpoints
from utils.training import loop
from utils.training.optimization.options import ScheduleOptions
from utils.training.optimization.schedule import make_schedule
from utils.training.sparse.coupled import ALPHA, GROWTHS, CoupledPull
from utils.training.sparse.options import SparsityDecay, SparsityOptions
from utils.training.sparse.pull import auto_strength

S = 0.03
PLAIN = {"batch_normalize": None}
NETS = {
    "chain": net(conv(6), conv(8), head()),
    "without batch normalisation": net(conv(6, **PLAIN), conv(8, **PLAIN), head()),
    "sums": net(conv(6), conv(4, 1), conv(6), section("shortcut", frm=-3), conv(4), head()),
    "depthwise": net(conv(6), conv(6, groups=6), conv(8, 1), head()),
    "groups": net(conv(6), conv(8, groups=2), conv(4, 1), head()),
    "concatenation": net(
        conv(4), conv(6), section("route", layers="-1,-2"), conv(4, 1), head()
    ),
}  # fmt: skip


def weights_of(graph: ChannelGraph, model: Darknet, channel: int) -> list[Tensor]:
    """All weights that go with a channel, found layer by layer and channel by channel."""
    found = []
    state = dict(model.named_parameters())
    for layer in graph.layers:
        kernel = state.get(key_of(layer.index, "conv.weight"))
        if kernel is None:
            continue
        vectors = [key_of(layer.index, n) for n in ("bn.weight", "bn.bias", "conv.bias")]
        for o, own in enumerate(graph.outputs[layer.index]):
            if own == channel:
                found.append(kernel[o].flatten())
                found += [state[key][o : o + 1] for key in vectors if key in state]
        if kernel.shape[1] == 1 and layer.groups > 1:
            continue
        part = len(kernel) // layer.groups
        for i, read in enumerate(graph.inputs[layer.index][0]):
            if read == channel:
                first, column = divmod(i, kernel.shape[1])
                found.append(kernel[first * part : (first + 1) * part, column].flatten())
    return found


def penalty(model: Darknet, kind: str, done: float = 0.0) -> Tensor:
    """The formula as it is written, its factors no function of the weights."""
    graph = channel_graph(model.rules)
    pulled = coupled_targets(model, STRATEGY).pulled
    total = torch.zeros(())
    for group in find_groups(graph):
        own = [c for c in group.classes.tolist() if pulled[c]]
        squares = {c: sum(w.square().sum() for w in weights_of(graph, model, c)) for c in own}
        for square in squares.values():
            most, least = max(squares.values()), min(squares.values())
            factor = 2 ** (ALPHA * (most - square) / (most - least)).detach()
            if kind == "growing":
                factor = (math.floor(done * GROWTHS) + 1) / GROWTHS
            total = total + S / 2 * factor * square
    return total


def pull_on(model: Darknet, kind: str = "group-norm", update: Any = "subgradient") -> CoupledPull:
    targets = coupled_targets(model, STRATEGY)
    return CoupledPull(targets, S, SparsityDecay(), update, kind == "growing")


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("kind", ["group-norm", "growing"])
def test_the_gradient_is_that_of_the_formula(name: str, kind: str) -> None:
    model = healthy(NETS[name])
    parameters = dict(model.named_parameters())
    slopes = torch.autograd.grad(
        penalty(model, kind, 0.5), list(parameters.values()), allow_unused=True
    )
    pull_on(model, kind).add_grad_(0.5)
    nothing = 0
    for (key, parameter), slope in zip(parameters.items(), slopes, strict=True):
        wanted = torch.zeros_like(parameter) if slope is None else slope
        got = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-7, msg=key)
        nothing += not wanted.any()
    assert nothing < len(parameters) / 2  # or little is compared


def test_another_factor_is_another_gradient() -> None:
    """The control: what a penalty without the group's factors would give does not match."""
    slopes = []
    for kind in ("group-norm", "growing"):
        model = healthy(NETS["sums"])
        pull_on(model, kind).add_grad_(1.0)
        slopes.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
    assert len(slopes[0]) == len(slopes[1])
    assert not torch.allclose(slopes[0], slopes[1], rtol=0.1)


def test_it_joins_gradients_that_are_there() -> None:
    alone, joined = healthy(NETS["chain"]), healthy(NETS["chain"])
    pull_on(alone).add_grad_()
    for parameter in joined.parameters():
        parameter.grad = torch.ones_like(parameter)
    pull_on(joined).add_grad_()
    for a, b in zip(alone.parameters(), joined.parameters(), strict=True):
        torch.testing.assert_close(b.grad, 1 + (0 if a.grad is None else a.grad))


def test_the_proximal_step_is_the_minimum_of_penalty_and_distance() -> None:
    """w' makes s f / 2 |w'|^2 lr + 1/2 |w' - w|^2 least: its slope is 0 there."""
    model, lr = healthy(NETS["without batch normalisation"]), 0.5
    before = [p.detach().clone() for p in model.parameters()]
    factors = torch.autograd.grad(
        penalty(model, "group-norm"), list(model.parameters()), allow_unused=True
    )
    pull = pull_on(model, update="prox")
    pull.add_grad_()
    assert all(p.grad is None for p in model.parameters())
    pull.shrink_(lr)
    for was, now, slope in zip(before, model.parameters(), factors, strict=True):
        if slope is None:
            assert torch.equal(was, now)
        else:
            torch.testing.assert_close(lr * slope / was * now + now, was, rtol=1e-4, atol=1e-6)


def test_frozen_weights_are_left_alone() -> None:
    model = healthy(NETS["chain"]).requires_grad_(False)
    model.layers[1].conv.weight.requires_grad_(True)
    pull_on(model).add_grad_()
    got = {name for name, p in model.named_parameters() if p.grad is not None}
    assert got == {"layers.1.conv.weight"}


def test_what_must_stay_is_not_pulled() -> None:
    """The head's own filters are no channel that may go: only their reading is pulled."""
    model = healthy(net(conv(6), head()))
    pull_on(model).add_grad_()
    assert model.layers[1].conv.bias.grad is None or not model.layers[1].conv.bias.grad.any()
    assert model.layers[1].conv.weight.grad.any()


def test_smaller_channels_are_pulled_up_to_sixteen_times_as_much() -> None:
    model = healthy(NETS["chain"])
    with torch.no_grad():
        model.layers[1].conv.weight[3] *= 0.1
    pull_on(model).add_grad_()
    gamma = model.layers[1].bn.weight
    shares = gamma.grad / gamma.detach() / S
    assert float(shares.max()) == pytest.approx(16, rel=1e-4)
    assert float(shares.min()) == pytest.approx(1, rel=1e-4)


def test_growth_is_in_equal_steps_to_the_full_factor() -> None:
    pull = pull_on(healthy(NETS["chain"]), "growing")
    found = [pull.schedule(done)[0] for done in (0.0, 0.009, 0.01, 0.5, 1.0)]
    assert found == pytest.approx([0.01, 0.01, 0.02, 0.51, 1.0])


@pytest.mark.parametrize("kind", ["group-norm", "growing"])
def test_auto_strength_lets_the_weakest_go_half_way(kind: str) -> None:
    """Nothing opposes: the channel that is pulled the most is at 1% of its weights."""
    model = healthy(NETS["without batch normalisation"])
    pull = pull_on(model, kind, "prox")
    schedule = make_schedule(ScheduleOptions(), 20, 10, 0.9)
    pull.s = auto_strength(pull, schedule, lr0=0.01)
    factor = 1.0 if kind == "growing" else 2**ALPHA
    left = 1.0
    for step in range(schedule.steps // 2):
        done = step / schedule.steps
        left /= 1 + 0.01 * schedule.lr_factor(step) * pull.s * factor * pull.schedule(done)[0]
    assert left == pytest.approx(0.01, rel=0.25)


@pytest.mark.parametrize("name", NETS)
def test_the_norm_is_that_of_what_a_prune_takes(name: str) -> None:
    """The squares of all weights less those of the pruned network: the channel's, exactly."""
    cfg = NETS[name]
    model = healthy(cfg)
    graph = channel_graph(model.rules)
    scores = group_norm(graph, model)
    named = dict(model.named_parameters())
    tried = 0
    for index, classes in graph.issued.items():
        for place, channel in enumerate(classes.tolist()):
            if channel in graph.pinned or len(graph.equal_parts):
                continue
            summed = sum(
                float(w.detach().double().square().sum()) for w in weights_of(graph, model, channel)
            )
            assert scores[index][place] ** 2 == pytest.approx(summed, rel=1e-6)
            plan = keep_everything(graph)
            plan.keep[channel] = False
            _, left = prune(cfg, model.state_dict(), plan)
            sizes = [sum(x[k].numel() for k in named) for x in (model.state_dict(), left)]
            assert sizes[0] - sizes[1] == sum(w.numel() for w in weights_of(graph, model, channel))
            tried += 1
    assert tried or len(graph.equal_parts)


@pytest.mark.parametrize("kind", ["group-norm", "growing"])
def test_a_resumed_run_pulls_as_it_did(
    project: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    torch.manual_seed(0)
    Darknet("my.cfg").save_weights("start.weights")
    flags = ["--epochs", "3", "--weights", "start.weights", "-sr", "--s", "auto"]
    flags += ["--sparsity-update", "prox", "--sparsity-penalty", kind]
    if kind == "growing":
        words = ["--cfg", "my.cfg", "--weights", "start.weights", "--img-size", "32"]
        prune_by_flags(STRATEGY, [*words, "--global-percent", "0.5", "--name", "cut"])
        flags += ["--sparsity-plan", "runs/prune/cut/cut.plan.json"]
    whole = content(run(*flags, "--name", "whole") / "last.pt")
    assert {"channel/median", "channel/near_zero"} <= set(whole["results"][-1])
    saves: list[Path] = []
    save = checkpoints.save

    def killed_after_two_epochs(path: Path, what: Any) -> None:
        save(path, what)
        saves.extend([path] if path.name == "last.pt" else [])
        if len(saves) == 3:  # the one at the start, then one per epoch
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save", killed_after_two_epochs)
        with pytest.raises(KeyboardInterrupt):
            run(*flags, "--name", "part")
    resumed = content(train.main(["--resume", "--name", "part"]) / "last.pt")
    assert_same(resumed, whole)
    plain = run("--epochs", "3", "--weights", "start.weights", "--name", "plain")
    with pytest.raises(AssertionError):  # negative control: the pull does something
        assert_same(content(plain / "last.pt")["raw"], whole["raw"])


def test_a_pulled_channel_becomes_small_and_goes(project: Path) -> None:
    """Without batch normalisation: what was pulled away is what `group` removes, for nothing."""
    cfg = net(conv(8, stride=2, **PLAIN), conv(8, stride=4, **PLAIN), head())
    Path("my.cfg").write_text(plain_text(cfg))
    torch.manual_seed(0)
    Darknet("my.cfg").save_weights("start.weights")
    words = ["--cfg", "my.cfg", "--img-size", "32", "--importance", "group"]
    amount = ["--global-percent", "0.5", "--layer-keep", "0.1", "--force"]
    prune_by_flags(STRATEGY, [*words, "--weights", "start.weights", *amount, "--name", "a"])
    pull = ["-sr", "--s", "auto", "--sparsity-update", "prox", "--sparsity-penalty", "growing"]
    plan = "runs/prune/a/a.plan.json"
    flags = ["--epochs", "6", "--weights", "start.weights", "--no-ema"]
    sparse = run(*flags, *pull, "--sparsity-plan", plan) / "last.pt"
    assert content(sparse)["results"][-1]["channel/near_zero"] == 1.0
    prune_by_flags(STRATEGY, [*words, "--weights", str(sparse), *amount, "--name", "b"])
    assert Path("runs/prune/b/b.plan.json").read_text() == Path(plan).read_text()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--sparsity-penalty", "growing"], "needs --sparsity-plan"),
        (
            ["--sparsity-penalty", "group-norm", "--sparsity-schedule", "local-decay"],
            "has a measure of its own",
        ),
    ],
)
def test_what_does_not_go_together_is_said(project: Path, flags: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        run("-sr", *flags)
    with pytest.raises(UserError, match="removes blocks alone"):
        coupled_targets(Darknet("my.cfg"), layer_prune.STRATEGY)
    assert SparsityOptions(penalty="growing").plan is None  # without -sr nothing is asked for
