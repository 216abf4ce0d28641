"""Layer pruning: shortcuts with an activation, and routes that come to name one tensor twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models import Darknet
from tests.support.installed.opencv_version import needs_cfg_importer
from tests.support.nets import conv, head, healthy_state, image, loaded, net, reparsed, section
from utils.cfg import Cfg, plain_text
from utils.network.graph import channel_graph
from utils.network.layers import Convolutional
from utils.network.layers.activations import ELEMENTWISE
from utils.network.weights import State, save_darknet_weights
from utils.pruning.foldable import removable_blocks
from utils.pruning.goals.budget import cost, pruned_layers
from utils.pruning.importance.batch_norm import batch_norm_scale
from utils.pruning.plan import PrunePlan, drop_blocks, keep_everything, make_plan
from utils.pruning.proof.gate import GateError, prove
from utils.pruning.strategy import ChannelRule
from utils.pruning.surgery import prune
from utils.runtimes.opencv import OpenCVDarknet

SLIM = ChannelRule("max", "ratio", keep_threshold=False)
RULES = [None, SLIM, ChannelRule("first"), ChannelRule("keep")]


def resnext(activation: str, blocks: int = 3) -> Cfg:
    """Blocks as in csresnext50: the last convolution is linear, the sum has the activation."""
    block = (
        conv(8, 1, activation=activation), conv(8, groups=2, activation=activation),
        conv(12, 1, activation="linear"), section("shortcut", frm=-4, activation=activation),
    )  # fmt: skip
    start = conv(12, activation=activation)
    return net(start, *block * blocks, conv(10, activation="leaky"), head())


def c2f(blocks: int = 2) -> Cfg:
    """A translated C2f stage: both halves and each bottleneck's sum are concatenated."""
    names = ",".join(map(str, [1, 3, *(6 + 3 * k for k in range(blocks))]))
    block = (
        conv(6, activation="swish"), conv(6, activation="swish"), section("shortcut", frm=-3),
    )  # fmt: skip
    return net(
        conv(8, activation="swish"), conv(6, 1, activation="swish"),
        section("route", layers=0) + conv(6, 1, activation="swish"),
        *block * blocks, section("route", layers=names), conv(8, 1, activation="swish"), head(),
    )  # fmt: skip


def without_blocks(
    cfg: Cfg, count: int, rule: ChannelRule | None = None
) -> tuple[State, PrunePlan]:
    """A state and the plan that removes so many blocks, and by a rule 40% of the channels."""
    model = Darknet(cfg)
    state = healthy_state(model)
    graph = channel_graph(model.rules)
    scores = batch_norm_scale(graph, state)
    plan = keep_everything(graph) if rule is None else make_plan(graph, scores, rule, 0.4)
    return state, drop_blocks(plan, scores, count, *removable_blocks(graph, state))


@torch.no_grad()
def difference(cfg: Cfg, state: State, plan: PrunePlan, padding: str = "circular") -> float:
    """Heads of the pruned network against the masked one, both whole and in float64."""
    wide = {key: tensor.double() for key, tensor in state.items()}
    masked = dict(wide)
    for index in plan.graph.issued:
        if f"layers.{index}.bn.weight" in masked:
            masked[f"layers.{index}.bn.weight"] = wide[f"layers.{index}.bn.weight"] * plan.kept(
                index
            )
    small, cut = prune(cfg, wide, plan)
    ours, theirs = loaded(reparsed(small), cut, padding), loaded(cfg, masked, padding)
    x = image(theirs).double()
    pairs = zip(ours.raw_heads(x), theirs.raw_heads(x), strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def proved(cfg: Cfg, state: State, plan: PrunePlan) -> Cfg:
    """The pruned cfg after its proof."""
    small, cut = prune(cfg, state, plan)
    small = reparsed(small)
    proof = prove(state, plan, small, cut)
    assert max(proof.masked, proof.folded) < 1e-12
    return small


# -- shortcuts with an activation ------------------------------------------------------------------


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_blocks_with_every_activation(name: str) -> None:
    cfg = resnext(name)
    state, plan = without_blocks(cfg, 2, SLIM)
    small = proved(cfg, state, plan)
    assert difference(cfg, state, plan) < 1e-12
    gone = 4 if name == "linear" else 3  # of the four layers of a block
    assert len(small.layers) == len(cfg.layers) - 2 * gone
    left = [s for s in small.layers if s.integer("groups", 1) > 2]
    assert len(left) == (0 if name == "linear" else 2)
    assert {s.text("activation") for s in left} <= {name}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("count", [1, 3])
def test_every_rule_with_blocks_gone(rule: ChannelRule | None, count: int) -> None:
    for cfg in (resnext("leaky"), resnext("mish"), c2f(3)):
        state, plan = without_blocks(cfg, count, rule)
        proved(cfg, state, plan)
        assert difference(cfg, state, plan) < 1e-12
    # Control: where a 3x3 kernel meets zeros in place of a constant, it shows.
    if rule is SLIM:
        state, plan = without_blocks(resnext("leaky"), count, rule)
        assert difference(resnext("leaky"), state, plan, "zeros") > 1e-6


def test_a_constant_left_out_of_the_bias_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = resnext("leaky")
    state, plan = without_blocks(cfg, 1)
    right = Convolutional.absorb

    def forgets(self: Convolutional, params: object, inputs: object) -> object:
        found = dict(right(self, params, inputs))  # type: ignore[arg-type]
        if self.groups == 12:
            found["conv.bias"] = found["conv.bias"] * 0
        return found

    monkeypatch.setattr(Convolutional, "absorb", forgets)
    with pytest.raises(GateError, match="the masked network"):
        proved(cfg, state, plan)


def test_partial_sums_as_in_tiny_prn_stay() -> None:
    """A sum with a layer of fewer channels cannot go; the one of equal channels can."""
    cfg = net(
        conv(8), conv(8), section("shortcut", frm=-2, activation="leaky"),
        conv(4, 1), section("shortcut", frm=-2, activation="leaky"), conv(8), head(),
    )  # fmt: skip
    model = Darknet(cfg)
    blocks, reasons = removable_blocks(channel_graph(model.rules), healthy_state(model))
    assert [block.shortcut for block in blocks] == [2]
    assert "not a plain sum" in reasons[4]


def test_the_price_counts_what_is_left() -> None:
    cfg = resnext("relu")
    state, plan = without_blocks(cfg, 2, SLIM)
    small = proved(cfg, state, plan)
    layers = Darknet(small).rules
    for measure in ("params", "macs"):
        assert cost(pruned_layers(cfg, plan), measure) == cost(layers, measure)  # type: ignore[arg-type]


@needs_cfg_importer
@pytest.mark.parametrize("name", ["leaky", "relu", "mish", "swish", "logistic", "tanh"])
def test_opencv_runs_what_is_left(tmp_path: Path, name: str) -> None:
    cfg = resnext(name)
    state, plan = without_blocks(cfg, 2)
    small, cut = prune(cfg, state, plan)
    small = reparsed(small)
    model = Darknet(small)
    model.load_state(cut)
    (tmp_path / "a.cfg").write_text(plain_text(small))
    save_darknet_weights(tmp_path / "a.weights", model.rules, cut)
    theirs = OpenCVDarknet(tmp_path / "a.cfg", tmp_path / "a.weights", bn_epsilon_fix=True)
    x = image(model, batch=1)
    with torch.no_grad():
        pairs = zip(model.eval().raw_heads(x), theirs.head_outputs(x), strict=True)
        for ours, other in pairs:
            assert torch.allclose(ours, other, atol=2e-4 * float(ours.abs().max()))


# -- routes that name one tensor twice -------------------------------------------------------------


def test_repeated_inputs_become_one() -> None:
    cfg = c2f(2)
    state, plan = without_blocks(cfg, 2)
    small = proved(cfg, state, plan)
    assert difference(cfg, state, plan) < 1e-12
    (route,) = [s for s in small.layers if len(s.integers("layers")) > 1]
    assert len(route.integers("layers")) == 2
    layers = Darknet(small).rules
    (reader,) = [x for x in layers if x.sources and layers[x.sources[0]].section is route]
    assert reader.inputs[0][0] == 12
    for measure in ("params", "macs"):
        assert cost(pruned_layers(cfg, plan), measure) == cost(layers, measure)  # type: ignore[arg-type]


def test_three_times_the_same() -> None:
    cfg = net(
        conv(8), *[conv(4, 1), conv(8), section("shortcut", frm=-3)] * 2,
        section("route", layers="0,3,6"), conv(6), conv(8, 1), head(),
    )  # fmt: skip
    state, plan = without_blocks(cfg, 2, SLIM)
    small = proved(cfg, state, plan)
    assert difference(cfg, state, plan) < 1e-12
    assert small.layers[1].text("layers") == "0"


def test_other_readers_keep_both() -> None:
    """A pool reads the concatenation: it cannot sum, so the tensor is named twice."""
    cfg = net(
        conv(8), conv(4, 1), conv(8), section("shortcut", frm=-3),
        section("route", layers="0,3"), section("maxpool", size=3, stride=1), conv(8), head(),
    )  # fmt: skip
    state, plan = without_blocks(cfg, 1)
    assert not plan.merges
    small = proved(cfg, state, plan)
    assert difference(cfg, state, plan) < 1e-12
    assert small.layers[1].text("layers") == "0,0"


def test_a_sum_that_forgets_a_part_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = c2f(1)
    state, plan = without_blocks(cfg, 1)
    monkeypatch.setattr(Convolutional, "merge_inputs", lambda self, params, parts: params)
    with pytest.raises(GateError, match="differs from the masked network"):
        proved(cfg, state, plan)
    monkeypatch.undo()
    proved(cfg, state, plan)


def test_nothing_is_merged_without_removed_blocks() -> None:
    cfg = net(conv(8), section("route", layers="0,0"), conv(8), head())
    graph = channel_graph(Darknet(cfg).rules)
    assert not keep_everything(graph).merges
    assert np.asarray(keep_everything(graph).kept(1)).all()
