"""Faults that the gate must see, whoever makes them: each is put into one layer of a right cut.

What is written and what the gate cuts again hold the same fault, so that only the comparison with
the masked network can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.prune_case import Case
from tests.support.random_cfgs import RULES, cfgs, planned
from utils.cfg import Cfg, parse_cfg, plain_text, replace_layers, set_option
from utils.network.weights import State
from utils.pruning import surgery
from utils.pruning.plan import PrunePlan
from utils.pruning.proof.gate import GateError, prove
from utils.pruning.surgery import prune

SETTINGS = settings(
    max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
Change = Callable[[Tensor], Tensor]


def one_number(tensor: Tensor, where: int) -> Tensor:
    """One of its numbers is off by a ten-thousandth of the largest."""
    wrong = tensor.clone()
    wrong.view(-1)[where % wrong.numel()] += 1e-4 * tensor.abs().max().clamp(min=1e-3)
    return wrong


def swapped(tensor: Tensor, axis: int, where: int) -> Tensor:
    """Two neighbours along an axis in each other's place."""
    order = list(range(tensor.shape[axis]))
    k = where % (len(order) - 1)
    order[k], order[k + 1] = order[k + 1], order[k]
    return tensor[order] if axis == 0 else tensor[:, order]


def refuses(
    state: State, plan: PrunePlan, cfg: Cfg, index: int, change: Callable[[Any], Mapping[str, Any]]
) -> bool:
    """Whether the gate refuses the cut whose layer `index` has its tensors changed."""
    right = surgery._cut

    def wrong(layer: Any, *rest: Any) -> Any:
        found = right(layer, *rest)
        return {**found, **change(found)} if layer.index == index else found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surgery, "_cut", wrong)
        cut, small = prune(cfg, state, plan)
        try:
            prove(state, plan, parse_cfg(plain_text(cut)), small)
        except GateError:
            return True
    return False


@SETTINGS
@given(cfgs(), st.integers(0, 99), st.data())
def test_one_wrong_number_in_any_layer(cfg: Cfg, seed: int, data: st.DataObject) -> None:
    """Of any tensor: kernel, mean, variance, gamma, beta, bias, weights of a sum."""
    state, plan = planned(cfg, seed, RULES[0], 0.4)
    places = surgery.surviving(plan)
    keys = [
        k for k in state if int(k.split(".")[1]) in places and plan.kept(int(k.split(".")[1])).any()
    ]
    key = data.draw(st.sampled_from(sorted(keys)))
    index, name = int(key.split(".")[1]), key.split(".", 2)[2]
    where = data.draw(st.integers(0, 10_000))
    assert refuses(state, plan, cfg, index, lambda p: {name: one_number(p[name], where)}), key


@SETTINGS
@given(cfgs(), st.integers(0, 99), st.integers(0, 1), st.data())
def test_two_channels_in_each_others_place(
    cfg: Cfg, seed: int, axis: int, data: st.DataObject
) -> None:
    """Rows or columns of any kernel, between neighbours that are not equal."""
    state, plan = planned(cfg, seed, RULES[0], 0.4)
    places = surgery.surviving(plan)
    keys = [k for k in state if k.endswith("conv.weight") and int(k.split(".")[1]) in places]
    index = int(data.draw(st.sampled_from(sorted(keys))).split(".")[1])
    where = data.draw(st.integers(0, 100))
    _, small = prune(cfg, state, plan)
    assume(small[f"layers.{places[index]}.conv.weight"].shape[axis] > 1)
    name = "conv.weight"
    assert refuses(state, plan, cfg, index, lambda p: {name: swapped(p[name], axis, where)})


@SETTINGS
@given(cfgs(), st.integers(0, 99), st.sampled_from((0.0, 0.999, 1.001, -1.0)), st.data())
def test_a_fold_that_is_off(cfg: Cfg, seed: int, factor: float, data: st.DataObject) -> None:
    """What arrives at a layer is folded in with a wrong factor."""
    state, plan = planned(cfg, seed, RULES[0], 0.4)
    right = surgery.folded
    arriving = [
        cut.layer.index
        for cut in surgery.cut_layers(state, plan)
        if cut.layer.index not in plan.stand_in
        and any(float(c.abs().max()) > 1e-3 for c in cut.incoming)
        and any(
            right(cut.left, cut.whole, cut.incoming, ())[n] is not t for n, t in cut.whole.items()
        )
    ]
    assume(arriving)
    index = data.draw(st.sampled_from(arriving))

    def wrong(layer: Any, params: Any, incoming: Any, merges: Any) -> Any:
        off = [c * factor for c in incoming] if layer.index == index else incoming
        return right(layer, params, off, merges)

    _, good = prune(cfg, state, plan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surgery, "folded", wrong)
        cut, small = prune(cfg, state, plan)
        # What arrives at channels that go themselves ([batchnorm]) is in no number that stays.
        assume(any(not torch.equal(tensor, good[key]) for key, tensor in small.items()))
        with pytest.raises(GateError):
            prove(state, plan, parse_cfg(plain_text(cut)), small)


JOINED = """[net]
width=32
height=32
channels=3

[convolutional]
batch_normalize=1
filters=8
size=3
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=8
size=3
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=8
size=3
pad=1
activation=leaky

[route]
layers=-1,-3

[convolutional]
batch_normalize=1
filters=8
groups=2
size=3
pad=1
activation=leaky

[route]
layers=-1
groups=2
group_id=1

[convolutional]
filters=18
size=1
activation=linear

[yolo]
mask=0,1,2
anchors=1,2,3,4,5,6
num=3
classes=1
"""


@pytest.mark.parametrize(
    ("layer", "key", "value"),
    [
        (3, "layers", "-3,-1"),  # the order of a join
        (5, "group_id", "0"),  # the other part
        (4, "groups", "1"),
        (4, "pad", "0"),
        (1, "dilation", "2"),
        (2, "activation", "relu"),
        (2, "size", "1"),
    ],
)
def test_a_cfg_that_says_something_else(layer: int, key: str, value: str) -> None:
    case = Case(parse_cfg(JOINED), ratio=0.4)
    cfg, state = case.pruned()
    prove(case.state, case.plan, cfg, state)
    wrong = replace_layers(cfg, {layer: set_option(cfg.layers[layer], key, value)})
    with pytest.raises(GateError):
        prove(case.state, case.plan, wrong, state)


def test_groups_cut_off_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part of a grouped convolution gets the columns of the next one."""
    case = Case(parse_cfg(JOINED), ratio=0.4)

    def shifted(params: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        kernel = params["conv.weight"]
        return {"conv.weight": kernel.roll(len(kernel) // 2, 0)}

    assert refuses(case.state, case.plan, case.cfg, 4, shifted)
