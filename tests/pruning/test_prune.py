"""The cut and its proof: the pruned network equals the masked one, and faults are caught."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.nets import State, conv, head, image, loaded, net, random_net, reparsed, section
from tests.support.prune_case import RULES, Case, compared, difference, last_values
from utils.cfg import Cfg, format_cfg, replace_layers, set_option
from utils.network.layers.activations import ELEMENTWISE
from utils.network.layers.convolutional import Convolutional
from utils.pruning import surgery as surgery_module
from utils.pruning.proof.border import structured_input
from utils.pruning.proof.gate import GateError, prove
from utils.pruning.surgery import prune

# Residual, grouped route, grouped and depthwise convolutions, pools, an upsample, two heads.
MIXED = net(
    conv(8, stride=2), conv(8, stride=2, activation="mish"),
    conv(6, 1), conv(8, activation="swish"), section("shortcut", frm=-3, activation="linear"),
    section("route", layers=-1, groups=2, group_id=1), conv(6, groups=2), conv(6, groups=6),
    section("route", layers="-1,4"), conv(8, stride=2, activation="logistic"),
    section("maxpool", size=3, stride=1), section("maxpool", size=5, stride=1),
    section("route", layers="-1,-2,9"), conv(8, 1), head(),
    section("route", layers=-3), conv(4, 1), section("upsample"), section("route", layers="-1,8"),
    conv(6), head(), width=64, height=64,
)  # fmt: skip


# -- the pruned network is the masked one ----------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("rule", RULES)
def test_pruned_equals_masked(rule: str, ratio: float) -> None:
    case = Case(MIXED, rule, ratio)
    proof = case.prove()
    assert max(proof.masked, proof.folded) < 1e-12
    assert compared(case) < 1e-12
    size = sum(tensor.numel() for tensor in case.pruned()[1].values())
    whole = sum(tensor.numel() for tensor in case.state.values())
    assert size < whole or (rule != "slim" and ratio == 0)


def test_the_comparison_sees_another_mask() -> None:
    """The same counts of other channels, or one more: not equal."""
    case = Case(MIXED)
    full = loaded(case.cfg, case.masked(), "circular")
    x = image(full).double()
    for layer in (2, 13):
        keep = case.plan.keep.copy()
        classes = case.graph.issued[layer]
        keep[classes] = np.roll(keep[classes], 1)
        if (keep == case.plan.keep).all():
            continue
        wide = {key: tensor.double() for key, tensor in case.state.items()}
        cfg, state = prune(case.cfg, wide, replace(case.plan, keep=keep))
        small = loaded(reparsed(cfg), state, "circular")
        assert difference(last_values(small, x), last_values(full, x)) > 1e-6


SEEDS = (*range(15), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(15, 400)))


@pytest.mark.parametrize("seed", SEEDS)
def test_random_networks(seed: int) -> None:
    rule, ratio = list(RULES)[seed % 3], (0.3, 0.6, 0.9)[seed // 3 % 3]
    case = Case(random_net(seed), rule, ratio, seed)
    proof = case.prove()
    assert max(proof.masked, proof.folded) < 1e-9
    assert compared(case) < 1e-9


def test_neither_argument_is_changed() -> None:
    case = Case(MIXED)
    text, before = format_cfg(case.cfg), {k: t.clone() for k, t in case.state.items()}
    first, second = case.pruned(), case.pruned()
    assert format_cfg(case.cfg) == text
    assert all(torch.equal(before[key], case.state[key]) for key in before)
    assert format_cfg(first[0]) == format_cfg(second[0])
    assert all(torch.equal(first[1][key], second[1][key]) for key in first[1])
    for tensor in first[1].values():
        tensor.zero_()
    assert all(torch.equal(before[key], case.state[key]) for key in before)


def test_the_cut_cfg_differs_in_the_counts_only() -> None:
    case = Case(MIXED)
    before, after = reparsed(case.cfg), case.pruned()[0]
    for old, new in zip((before.net, *before.layers), (after.net, *after.layers), strict=True):
        assert old.kind == new.kind
        changed = {key for key in old.options if old.text(key) != new.text(key)}
        assert changed <= ({"filters", "groups"} if old.kind == "convolutional" else set())
        assert old.options.keys() == new.options.keys()
    depthwise = after.layers[7]
    assert (
        depthwise.integer("groups") == depthwise.integer("filters") == int(case.plan.kept(7).sum())
    )
    assert after.layers[6].integer("groups") == 2


# -- folding ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_constants_of_every_activation_are_folded(name: str) -> None:
    cfg = net(conv(8, activation=name), conv(8, activation=name), head())
    case = Case(cfg, ratio=0.6)
    assert compared(case) < 1e-12
    assert case.prove().masked < 1e-12
    # Without the constants the difference shows, unless the activation has none below 0.
    state = dict(case.masked())
    for index in case.graph.issued:
        if f"layers.{index}.bn.bias" in state:
            state[f"layers.{index}.bn.bias"] = state[f"layers.{index}.bn.bias"] * case.plan.kept(
                index
            )
    full, plain = (loaded(cfg, s, "circular") for s in (case.masked(), state))
    x = image(full).double()
    assert difference(last_values(plain, x), last_values(full, x)) > 1e-4


CARRIERS = {
    "maxpool": section("maxpool", size=2, stride=2),
    "local_avgpool": section("local_avgpool", size=3, stride=2),
    "avgpool": section("avgpool"),
    "upsample": section("upsample", scale=0.5),
    "sums": section("upsample", stride=-2),
    "dropout": section("dropout"),
    "grouped route": section("route", layers=-1, groups=2, group_id=1),
    "route": section("route", layers="-1,0"),
    "shortcut": section("shortcut", frm=0, activation="leaky"),
    "weighted shortcut": section(
        "shortcut", frm="0", weights_type="per_channel", weights_normalization="softmax"
    ),
    "two shortcuts": section("shortcut", frm=0) + section("shortcut", frm="0,1"),
    "depthwise": conv(8, groups=8, activation="mish"),
    "grouped": conv(8, groups=2),
    "batchnorm": section("batchnorm"),
    "activation": section("activation", activation="mish"),
    "sam": section("sam", frm=0),
    "squeeze": section("avgpool") + conv(8, 1) + section("scale_channels", frm=1),
    "reorg3d": section("reorg3d", stride=2),
    "depth": section("maxpool", maxpool_depth=1, out_channels=4),
    "connected": section("connected", output=8, batch_normalize=1) + section("connected", output=8),
    "blur without padding": conv(8, stride=2, antialiasing=2),
    "blur": conv(8, stride=2, antialiasing=1),
    "blurred pool": section("maxpool", size=2, stride=2, antialiasing=1),
    "kernel wider than the map": conv(8, stride=8) + conv(8, 7),
    "holes wider than the map": conv(8, stride=8) + conv(8, dilation=4),
}


@pytest.mark.parametrize("name", CARRIERS)
def test_constants_pass_every_kind_of_layer(name: str) -> None:
    """Layers 0 and 1 lose channels with beta far from 0; then a layer; then one that absorbs."""
    cfg = net(conv(8), conv(8), CARRIERS[name], conv(4, 1), width=16, height=16)
    case = Case(cfg, ratio=0.6)
    assert int(case.plan.kept(1).sum()) < 8
    assert compared(case) < 1e-12
    assert case.prove().masked < 1e-12


def test_zero_padding_costs_the_border_only() -> None:
    """Three 3x3 kernels read constants: three cells from the border on, all is exact."""
    cfg = net(conv(8), conv(8), conv(8), conv(8), conv(4, 1), width=16, height=20)
    case = Case(cfg, ratio=0.6)
    full, small = loaded(cfg, case.masked()), loaded(*case.exact())
    x = image(full).double()
    (ours,), (theirs,) = last_values(small, x), last_values(full, x)
    error = (ours - theirs).abs() / theirs.abs().max()
    assert float(error[:, :, 3:-3, 3:-3].max()) < 1e-12
    assert float(error.max()) > 1e-3
    assert float(error[:, :, 2].max()) > 1e-6
    assert compared(case, "zeros") > 1e-3


def test_without_constants_zero_padding_costs_nothing() -> None:
    """leaky(0) is 0: with beta 0 at the channels that go, nothing is left to fold."""
    case = Case(net(conv(8), conv(8), conv(8), head(), width=16, height=16), ratio=0.6)
    for index in (0, 1, 2):
        case.state[f"layers.{index}.bn.bias"] *= case.plan.kept(index)
    assert compared(case, "zeros") < 1e-12
    assert case.prove().border < 1e-5  # float32
    other = Case(case.cfg, ratio=0.6)
    assert other.prove().border > 1e-4


# -- the gate catches faults -----------------------------------------------------------------------


def test_a_sound_cut_passes() -> None:
    proof = Case(MIXED).prove()
    assert proof.layers == len(MIXED.layers)
    assert max(proof.masked, proof.folded) < 1e-12
    assert 0 < proof.border < 10


def refused(case: Case, cfg: Cfg, state: State) -> None:
    with pytest.raises(GateError):
        prove(case.state, case.plan, cfg, state)


def test_a_changed_tensor_is_refused() -> None:
    """One number by one unit in the last place, or a tensor that is not there."""
    case = Case(MIXED)
    cfg, state = case.pruned()
    for key in list(state)[::9]:
        broken = copy.copy(state)
        broken[key] = state[key].clone()
        value = broken[key].view(-1)[-1]
        broken[key].view(-1)[-1] = torch.nextafter(value, value + 1)
        refused(case, cfg, broken)
        refused(case, cfg, {k: t for k, t in state.items() if k != key})
    prove(case.state, case.plan, cfg, state)


@pytest.mark.parametrize("fault", ["columns", "rows", "order"])
def test_a_wrong_slice_is_refused(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """The gate runs the same slice, so it is the comparison that must see it."""
    case = Case(MIXED)
    right: Callable[..., Tensor] = Convolutional._slice_kernel

    def wrong(self: Convolutional, kernel: Tensor, keep: Tensor, kept: Tensor) -> Tensor:
        found = right(self, kernel, keep, kept)
        if self.index != 13:
            return found
        return {"columns": found.roll(1, 1), "rows": found.roll(1, 0), "order": found.flip(1)}[
            fault
        ]

    monkeypatch.setattr(Convolutional, "_slice_kernel", wrong)
    refused(case, *case.pruned())
    monkeypatch.undo()
    case.prove()


def test_a_wrong_slice_of_the_normalisation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(MIXED)
    right: Callable[..., Any] = Convolutional.slice

    def wrong(self: Convolutional, params: Any, keeps: Any, kept: Tensor) -> Any:
        found = dict(right(self, params, keeps, kept))
        if self.index == 9:
            found["bn.bias"] = found["bn.bias"].roll(1)
        return found

    monkeypatch.setattr(Convolutional, "slice", wrong)
    refused(case, *case.pruned())


@pytest.mark.parametrize("layer", [0, 2, 13])
def test_swapped_keep_masks_are_refused(layer: int) -> None:
    """A cut by one plan, proved against another of the same counts."""
    case = Case(MIXED)
    keep = case.plan.keep.copy()
    classes = case.graph.issued[layer]
    on, off = (classes[keep[classes] == wanted][0] for wanted in (True, False))
    keep[[on, off]] = False, True
    cfg, state = case.pruned(replace(case.plan, keep=keep))
    refused(case, cfg, state)


def test_a_constant_that_was_not_folded_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(MIXED)
    right: Callable[..., Any] = Convolutional.absorb

    def forgets(self: Convolutional, params: Any, inputs: Any) -> Any:
        return params if self.index == 9 else right(self, params, inputs)

    monkeypatch.setattr(Convolutional, "absorb", forgets)
    with pytest.raises(GateError, match=r"layer 9 \[convolutional\] .* the masked network"):
        case.prove()


def test_a_constant_that_is_slightly_off_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(MIXED)
    right: Callable[..., Tensor] = Convolutional.constants

    def off(self: Convolutional, params: Any, inputs: Any, kept: Tensor) -> Tensor:
        return right(self, params, inputs, kept) * (1 + 1e-6)

    monkeypatch.setattr(Convolutional, "constants", off)
    with pytest.raises(GateError, match="the masked network"):
        case.prove()


@pytest.mark.parametrize("key", ["activation", "stride", "groups"])
def test_a_cfg_that_means_something_else_is_refused(key: str) -> None:
    case = Case(net(conv(8), conv(8, groups=1), conv(8), head(), width=16, height=16))
    cfg, state = case.pruned()
    value = {"activation": "relu", "stride": "2", "groups": "1"}[key]
    changed = replace_layers(cfg, {1: set_option(cfg.layers[1], key, value)})
    if key == "groups":
        prove(case.state, case.plan, changed, state)
    else:
        refused(case, changed, state)


def test_the_input_of_the_proof_is_alive() -> None:
    x = structured_input(3, (64, 96))
    assert x.shape == (2, 3, 64, 96)
    assert 0 <= float(x.min()) < 0.1
    assert 0.9 < float(x.max()) <= 1
    assert float((x[0] - x[1]).abs().mean()) > 0.1
    assert float((x - x.flip(3)).abs().mean()) > 0.1
    assert torch.equal(x, structured_input(3, (64, 96)))


def test_nothing_but_the_plan_is_needed() -> None:
    """`cut_layers` in float32 gives exactly the tensors of `prune`."""
    case = Case(MIXED)
    _, state = case.pruned()
    for cut in surgery_module.cut_layers(case.state, case.plan):
        for name, tensor in cut.sliced.items():
            assert torch.equal(tensor, state[f"layers.{cut.layer.index}.{name}"])
