"""Attention pruned: pairs, values and heads by random plans; scores; and what must not pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import Darknet
from tests.support.nets import conv, head, healthy, healthy_state, image, loaded, net, section
from tests.support.prune_case import Case, compared, difference, last_values
from utils.cfg import Cfg, replace_layers, set_option
from utils.network.graph import channel_graph
from utils.pruning.foldable import removable_blocks
from utils.pruning.importance.kinds import FROM_STATE
from utils.pruning.importance.options import Kind
from utils.pruning.importance.pairs import with_pairs
from utils.pruning.importance.taylor import taylor
from utils.pruning.plan import keep_everything
from utils.pruning.proof.gate import GateError, prove
from utils.pruning.structure import removable_by_structure
from utils.pruning.surgery import prune

Q, K, V, PLACE, ATTENTION, PROJ, BLOCK = 1, 3, 5, 6, 7, 9, 10
LINEAR = {"activation": "linear"}


def attending(heads: int = 2, area: int = 2, pairs: int = 8, values: int = 12) -> Cfg:
    """PSABlock's first half: queries, keys, values, their place, the sum, proj, the input added."""
    return net(
        conv(10, stride=2, activation="swish"),
        conv(pairs, 1, **LINEAR), section("route", layers=0),
        conv(pairs, 1, **LINEAR), section("route", layers=0),
        conv(values, 1, **LINEAR), conv(values, 3, groups=values, **LINEAR),
        section("attention", frm="1,3,5", heads=heads, area=area, scale=0.4),
        section("shortcut", frm=-2, activation="linear"), conv(10, 1, **LINEAR),
        section("shortcut", frm=0, activation="linear"),
        conv(6), head(),
        width=32, height=24,
    )  # fmt: skip


@pytest.mark.parametrize(("heads", "area"), [(1, 1), (2, 1), (1, 3), (4, 2)])
@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), ratio=st.sampled_from((0.2, 0.5, 0.8, 0.95)))
def test_pruned_equals_masked(heads: int, area: int, seed: int, ratio: float) -> None:
    case = Case(attending(heads, area))
    case.replan("slim", ratio, seed)
    proof = case.prove()
    assert max(proof.masked, proof.folded) < 1e-9
    assert compared(case) < 1e-9
    cfg, _ = case.pruned()
    for index in (Q, V):
        counts = case.plan.kept(index).view(heads, -1).sum(1)
        assert (counts == counts[0]).all()
        assert cfg.layers[index].integer("filters") == counts.sum()
    assert torch.equal(case.plan.kept(Q), case.plan.kept(K))
    assert torch.equal(case.plan.kept(V), case.plan.kept(PLACE))
    assert cfg.layers[ATTENTION].number("scale") == 0.4


def test_a_scale_by_what_remains_does_not_pass_the_gate() -> None:
    case = Case(attending())
    case.replan("slim", 0.5, 1)
    cfg, state = case.pruned()
    assert case.plan.kept_count(Q) < 8
    wrong = replace_layers(cfg, {ATTENTION: set_option(cfg.layers[ATTENTION], "scale", 0.5)})
    with pytest.raises(GateError, match="attention"):
        prove(case.state, case.plan, wrong, state)


@pytest.mark.parametrize(("which", "exact"), [(K, True), (Q, False)])
def test_a_constant_key_goes_exactly_and_a_constant_query_does_not(which: int, exact: bool) -> None:
    """Of the original network, not of the masked one: the other of the pair varies in it."""
    cfg = attending()
    model = Darknet(cfg)
    state = healthy_state(model)
    # The same channel of each head, so that the counts stay equal.
    state[f"layers.{which}.bn.weight"][[1, 5]] = 0
    graph = channel_graph(model.rules)
    plan = keep_everything(graph)
    keep = plan.keep.copy()
    keep[graph.issued[Q][[1, 5]]] = False
    plan = replace(plan, keep=keep)
    wide = {key: tensor.double() for key, tensor in state.items()}
    small = loaded(*prune(cfg, wide, plan))
    full = loaded(cfg, wide)
    x = image(full).double()
    error = difference(last_values(small, x), last_values(full, x))
    assert (error < 1e-12) if exact else (error > 1e-4)


def test_the_block_around_it_can_go() -> None:
    cfg = attending()
    model = Darknet(cfg)
    graph = channel_graph(model.rules)
    state = healthy_state(model)
    blocks, others = removable_blocks(graph, state)
    assert [block.shortcut for block in blocks] == [BLOCK]
    assert removable_by_structure(graph)[0] == blocks
    assert 8 in others  # the sum with the values' place
    plan = replace(keep_everything(graph), dropped=blocks)
    small, cut = prune(cfg, state, plan)
    proof = prove(state, plan, small, cut)
    assert max(proof.masked, proof.folded) < 1e-9
    assert not any(layer.kind == "attention" for layer in small.layers)


@pytest.mark.parametrize("kind", ["bn", "bn-act", "l1", "l2"])
def test_a_pair_is_scored_as_one(kind: Kind) -> None:
    """0 where the key varies not at all, whatever the query; not 0 where only the query's gamma is.

    Elsewhere the ranks are those of what a pair's removal costs, measured.
    """
    model = healthy(attending(heads=1, area=1, pairs=12))
    state = model.state_dict()
    state[f"layers.{K}.bn.weight"][0] = 0
    state[f"layers.{Q}.bn.weight"][1], state[f"layers.{Q}.bn.bias"][1] = 0, 2.0
    graph = channel_graph(model.rules)
    scores = with_pairs(graph, state, FROM_STATE[kind](graph, state), kind)
    assert np.array_equal(scores[Q], scores[K])
    assert scores[K][0] == 0 < scores[Q][1]
    apart = FROM_STATE[kind](graph, state)
    assert not np.array_equal(apart[Q], apart[K])
    assert np.array_equal(apart[V], scores[V])
    costs = [cost(model, graph.issued[Q][pair]) for pair in range(12)]
    assert rank_correlation(scores[Q], np.array(costs)) > 0.6


def cost(model: Darknet, pair: int) -> float:
    """How far the heads move when one pair goes."""
    graph = channel_graph(model.rules)
    keep = np.ones(graph.count, bool)
    keep[pair] = False
    plan = replace(keep_everything(graph), keep=keep)
    wide = {key: tensor.double() for key, tensor in model.state_dict().items()}
    small, full = loaded(*prune(model.cfg, wide, plan)), loaded(model.cfg, wide)
    x = image(full).double()
    return difference(last_values(small, x), last_values(full, x))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(x)) for x in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def test_a_pair_by_the_loss_is_what_its_key_is_worth() -> None:
    model = healthy(attending())
    graph = channel_graph(model.rules)
    batches = [(image(model, seed), torch.zeros(0, 6)) for seed in range(2)]

    def loss(raw: list[torch.Tensor], _: torch.Tensor, __: tuple[int, int]) -> torch.Tensor:
        return raw[0].square().mean()

    found = taylor(graph, model, batches, loss)
    paired = with_pairs(graph, model.state_dict(), found, "taylor")
    assert np.array_equal(paired[Q], found[K]) and np.array_equal(paired[K], found[K])
    assert not np.array_equal(found[Q], found[K])
