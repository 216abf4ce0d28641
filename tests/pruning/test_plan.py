"""Scores become a plan: thresholds, floors and ties worked out by hand, for each of the rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import prune as prune_script
import shortcut_prune
import slim_prune
from models import Darknet
from tests.support.nets import conv, head, healthy_state, net, random_net, rules, section
from utils.cfg import Cfg
from utils.command.errors import UserError
from utils.network.graph import ChannelGraph, channel_graph
from utils.network.layers import build_layers
from utils.pruning.candidates import find_candidates
from utils.pruning.importance.batch_norm import batch_norm_scale
from utils.pruning.plan import PrunePlan, highest_safe_ratio, make_plan
from utils.pruning.strategy import ChannelRule
from utils.pruning.targets import sparsity_targets

KEEP, FIRST = ChannelRule("keep"), ChannelRule("first")
SLIM = ChannelRule("max", "ratio", keep_threshold=False)
Scores = dict[int, NDArray[np.float64]]

# 0 leads a residual stage, 1 is inside the block, 2 is added to 0; 4 and 5 are the head.
RESIDUAL = net(conv(4), conv(3, 1), conv(4), section("shortcut", frm=-3), head(classes=1))
GAMMAS = {0: [0.9, 0.1, 0.5, 0.2], 1: [0.3, 0.8, 0.4], 2: [0.05, 0.6, 0.7, 0.15]}


def graph_of(cfg: Cfg) -> ChannelGraph:
    return channel_graph(build_layers(cfg))


def scores_of(gammas: dict[int, list[float]]) -> Scores:
    return {index: np.array(values) for index, values in gammas.items()}


def plan_of(
    rule: ChannelRule,
    ratio: float,
    layer_keep: float = 0.0,
    gammas: dict[int, list[float]] | None = None,
) -> PrunePlan:
    """The plan for `RESIDUAL`; `gammas` replace those of some layers."""
    scores = scores_of({**GAMMAS, **(gammas or {})})
    return make_plan(graph_of(RESIDUAL), scores, rule, ratio, layer_keep)


def kept(plan: PrunePlan, index: int) -> list[int]:
    return [int(k) for k in plan.kept(index).nonzero()]


def test_the_scripts_are_these_rules() -> None:
    assert prune_script.STRATEGY.channels == KEEP
    assert shortcut_prune.STRATEGY.channels == FIRST
    assert slim_prune.STRATEGY.channels == SLIM


# -- slim_prune: 11 candidates .05 .1 .15 .2 .3 .4 .5 .6 .7 .8 .9 ----------------------------------


@pytest.mark.parametrize(
    ("ratio", "threshold", "stage", "inside"),
    [
        (0.0, 0.05, [0, 1, 2, 3], [0, 1, 2]),  # above .05: only channel 0 of 2, which 0 wants
        (0.3, 0.2, [0, 1, 2], [0, 1, 2]),  # 0 wants {0, 2}, 2 wants {1, 2}
        (0.5, 0.4, [0, 1, 2], [1]),
        (0.65, 0.6, [0, 2], [1]),
        (0.75, 0.7, [0, 2], [1]),  # 2 wants nothing, so its best: 2
        (0.9, 0.8, [0, 2], [1]),  # 1 wants nothing either: its best
        (1.0, math.inf, [0, 2], [1]),
    ],
)
def test_slim_keeps_what_any_of_the_tied_wants(
    ratio: float, threshold: float, stage: list[int], inside: list[int]
) -> None:
    plan = plan_of(SLIM, ratio)
    assert plan.threshold == threshold
    assert kept(plan, 0) == kept(plan, 2) == kept(plan, 3) == stage
    assert kept(plan, 1) == inside
    assert len(kept(plan, 4)) == 12
    assert [k.tolist() for k in plan.kept_inputs(1)] == [plan.kept(0).tolist()]


def test_slim_keeps_a_share_of_each_layer() -> None:
    """floor(C * layer_keep), at least one; the best channels; before ties are joined."""
    assert kept(plan_of(SLIM, 1.0, layer_keep=0.5), 0) == [0, 1, 2]  # {0, 2} and {1, 2}
    assert kept(plan_of(SLIM, 1.0, layer_keep=0.49), 0) == [0, 2]
    assert kept(plan_of(SLIM, 1.0, layer_keep=0.67), 1) == [1, 2]
    assert kept(plan_of(SLIM, 1.0, layer_keep=0.66), 1) == [1]
    assert kept(plan_of(SLIM, 1.0, layer_keep=1.0), 1) == [0, 1, 2]
    assert kept(plan_of(SLIM, 0.0, layer_keep=1.0), 0) == [0, 1, 2, 3]


def test_gammas_count_without_their_sign() -> None:
    model = Darknet(RESIDUAL)
    state = healthy_state(model)
    state["layers.0.bn.weight"] = torch.tensor([-0.9, 0.1, -0.5, 0.2])
    scores = batch_norm_scale(graph_of(RESIDUAL), state)
    assert np.allclose(scores[0], GAMMAS[0])
    assert set(scores) == {0, 1, 2}


# -- prune: the stage stays, 3 candidates .3 .4 .8 -------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "threshold", "inside"),
    [(0.0, 0.3, [0, 1, 2]), (0.34, 0.4, [1, 2]), (0.67, 0.8, [1]), (1.0, math.inf, [1])],
)
def test_prune_leaves_what_is_added_up(ratio: float, threshold: float, inside: list[int]) -> None:
    plan = plan_of(KEEP, ratio)
    assert plan.threshold == threshold
    assert kept(plan, 0) == kept(plan, 2) == [0, 1, 2, 3]
    assert kept(plan, 1) == inside
    reasons = plan.candidates.reasons
    assert reasons[0] == reasons[2] == "a shortcut adds its channels to others"
    assert 1 not in reasons


# -- shortcut_prune: the leader decides, 7 candidates .1 .2 .3 .4 .5 .8 .9 -------------------------


@pytest.mark.parametrize(
    ("ratio", "threshold", "stage", "inside"),
    [
        (0.0, 0.1, [0, 1, 2, 3], [0, 1, 2]),
        (0.3, 0.3, [0, 2], [0, 1, 2]),
        (0.6, 0.5, [0, 2], [1]),
        (0.99, 0.9, [0], [1]),
        (1.0, math.inf, [0], [1]),
    ],
)
def test_shortcut_prune_follows_the_first(
    ratio: float, threshold: float, stage: list[int], inside: list[int]
) -> None:
    plan = plan_of(FIRST, ratio)
    assert plan.threshold == threshold
    assert kept(plan, 0) == kept(plan, 2) == stage
    assert kept(plan, 1) == inside
    assert plan.candidates.reasons[2] == "follows the first convolution of its group"
    same = plan_of(FIRST, ratio, gammas={2: [9.0, 9.0, 9.0, 9.0]})
    assert kept(same, 0) == stage, "a follower's gammas have no say"


# -- boundaries ------------------------------------------------------------------------------------


def test_channels_at_the_threshold() -> None:
    """Slim: strictly above stays. The others: at or above stays."""
    ties = {0: [0.5] * 4, 1: [0.5, 0.5, 0.9], 2: [0.5] * 4}
    assert kept(plan_of(SLIM, 0.5, gammas=ties), 0) == [0]
    assert kept(plan_of(SLIM, 0.5, gammas=ties), 1) == [2]
    assert kept(plan_of(KEEP, 0.5, gammas=ties), 1) == [0, 1, 2]
    assert kept(plan_of(KEEP, 0.7, gammas=ties), 1) == [2]
    assert kept(plan_of(FIRST, 0.5, gammas=ties), 0) == [0, 1, 2, 3]


def test_all_scores_zero() -> None:
    nothing = {0: [0.0] * 4, 1: [0.0] * 3, 2: [0.0] * 4}
    plan = plan_of(SLIM, 0.5, gammas=nothing)
    assert (kept(plan, 0), kept(plan, 1)) == ([0], [0])
    assert kept(plan_of(KEEP, 0.9, gammas=nothing), 1) == [0, 1, 2]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("rule", [SLIM, FIRST])
def test_scores_that_are_no_numbers(bad: float, rule: ChannelRule) -> None:
    with pytest.raises(UserError, match=r"not numbers \(NaN\)"):
        plan_of(rule, 0.5, gammas={0: [0.1, bad, 0.2, 0.3]})


def test_nothing_to_remove() -> None:
    """Everything is read by the head, or added up."""
    cfg = net(conv(12), section("yolo", classes=1, num=2))
    graph = graph_of(cfg)
    with pytest.raises(UserError, match="no channel may be removed"):
        make_plan(graph, {0: np.ones(12)}, ChannelRule("max"), 0.5)
    candidates = find_candidates(graph, ChannelRule("max"))
    assert candidates.reasons == {0: "read by the [yolo] head at layer 1"}
    assert not candidates.prunable[0].any()


def test_highest_safe_ratio() -> None:
    """The smallest of the layers' maxima is .7, of layer 2: 8 of 11 scores are below .7."""
    graph = graph_of(RESIDUAL)
    slim = find_candidates(graph, ChannelRule("max"))
    assert highest_safe_ratio(scores_of(GAMMAS), slim) == 8 / 11
    first = find_candidates(graph, ChannelRule("first"))
    assert highest_safe_ratio(scores_of(GAMMAS), first) == 5 / 7
    keep = find_candidates(graph, ChannelRule("keep"))
    assert highest_safe_ratio(scores_of(GAMMAS), keep) == 2 / 3
    at = make_plan(graph, scores_of(GAMMAS), ChannelRule("keep"), 2 / 3)
    assert kept(at, 1) == [1]
    assert at.threshold == 0.8


# -- who has no say --------------------------------------------------------------------------------


def test_a_channel_that_nobody_can_judge_stays() -> None:
    """Layer 1 has no batch normalisation: what it adds to layer 0 is not known to be little."""
    cfg = net(conv(4), conv(4, batch_normalize=0), section("shortcut", frm=0), conv(3), head())
    graph = graph_of(cfg)
    scores = {0: np.array([0.1, 0.2, 0.3, 0.4]), 3: np.array([0.5, 0.6, 0.7])}
    for rule in (SLIM, FIRST, KEEP):
        plan = make_plan(graph, scores, rule, 0.9)
        assert kept(plan, 0) == kept(plan, 1) == [0, 1, 2, 3]
        assert len(kept(plan, 3)) == 1
    reasons = find_candidates(graph, ChannelRule("max")).reasons
    assert reasons[1] == "no batch normalisation to judge its channels by"
    assert reasons[0] == "tied to a layer that must keep its own"


def test_a_follower_of_part_of_a_leader_keeps_a_channel() -> None:
    """Layer 1 is added to channels 0 and 1 of layer 0, which keeps only channel 3."""
    cfg = net(conv(4), section("maxpool", size=1), conv(2), section("shortcut", frm=0), head())
    graph = graph_of(cfg)
    scores = {0: np.array([0.1, 0.2, 0.3, 0.4]), 2: np.array([0.5, 0.6])}
    plan = make_plan(graph, scores, ChannelRule("first"), 0.9)
    assert kept(plan, 0) == [1, 3]
    assert kept(plan, 2) == [1]


# -- equal parts -----------------------------------------------------------------------------------


def test_parts_of_a_split_keep_equal_counts() -> None:
    """The parts want {0} and {4, 5}: the best removed channel of the first comes back."""
    text = section("route", layers=-1, groups=2, group_id=1)
    cfg = net(conv(6), text, conv(3), head())
    scores = {0: np.array([0.9, 0.2, 0.3, 0.1, 0.7, 0.8]), 2: np.array([1.0, 1.1, 1.2])}
    plan = make_plan(graph_of(cfg), scores, ChannelRule("max"), 0.4)
    assert plan.threshold == 0.7
    assert kept(plan, 0) == [0, 2, 4, 5]
    assert kept(plan, 1) == [1, 2]


def test_groups_of_a_convolution_keep_equal_counts() -> None:
    cfg = net(conv(4), conv(6, groups=2), head())
    scores = {0: np.array([0.1, 0.2, 0.8, 0.9]), 1: np.array([0.1, 0.9, 0.2, 0.3, 0.4, 0.5])}
    plan = make_plan(graph_of(cfg), scores, ChannelRule("max"), 0.5)
    assert plan.threshold == 0.4
    assert kept(plan, 0) == [0, 1, 2, 3]
    assert kept(plan, 1) == [1, 2, 4, 5]


def test_depthwise_votes_with_its_source() -> None:
    cfg = net(conv(4), conv(4, groups=4), conv(3), head())
    scores = {0: np.array([0.1, 0.9, 0.2, 0.3]), 1: np.array([0.8, 0.1, 0.2, 0.3]),
              2: np.array([0.5, 0.6, 0.7])}  # fmt: skip
    plan = make_plan(graph_of(cfg), scores, ChannelRule("max"), 0.6)
    assert kept(plan, 0) == kept(plan, 1) == [0, 1]
    first = make_plan(graph_of(cfg), scores, ChannelRule("first"), 0.6)
    assert kept(first, 0) == kept(first, 1) == [1]


# -- any network -----------------------------------------------------------------------------------


def slow_masks(graph: ChannelGraph, scores: Scores, rule: ChannelRule, ratio: float) -> list[bool]:
    """The text of the rules, channel by channel, for networks without splits."""
    candidates = find_candidates(graph, rule)
    offered = [
        (index, k)
        for index, free in candidates.prunable.items()
        for k in range(len(free))
        if free[k]
    ]
    pool = sorted(float(scores[index][k]) for index, k in offered)
    position = math.floor(ratio * len(pool))
    threshold = pool[position] if position < len(pool) else math.inf

    def stays(score: float) -> bool:
        return score > threshold or (rule.keep_threshold and score == threshold)

    wanted = set()
    for index, free in candidates.prunable.items():
        chosen = [k for k in range(len(free)) if stays(scores[index][k]) or not free[k]]
        chosen = chosen or [int(np.argmax(scores[index]))]
        if rule.tied == "first":
            chosen = [k for k in chosen if free[k]]
        wanted |= {int(graph.issued[index][k]) for k in chosen}
    may_go = {int(graph.issued[index][k]) for index, k in offered} - wanted
    return [c not in may_go for c in range(graph.count)]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 400), st.sampled_from([KEEP, FIRST, SLIM]), st.floats(0, 1))
def test_plans_of_random_networks(seed: int, rule: ChannelRule, ratio: float) -> None:
    graph = graph_of(random_net(seed))
    rng = np.random.default_rng(seed)
    scores = {
        i: rng.choice([0.1, 0.2, 0.5, 0.9], len(classes))
        for i, classes in graph.issued.items()
        if graph.layers[i].normalized
    }
    plan = make_plan(graph, scores, rule, ratio)
    assert all(plan.keep[c] for c in graph.pinned)
    assert all(plan.keep[classes].any() for classes in graph.issued.values())
    for parts in graph.equal_parts:
        assert len(set(plan.keep[parts].sum(1).tolist())) == 1
    wanted = np.array(slow_masks(graph, scores, rule, ratio))
    assert not (wanted & ~plan.keep).any(), "a channel went that the rule keeps"
    whole = all(wanted[classes].any() for classes in graph.issued.values())
    if whole and not graph.equal_parts:
        assert (plan.keep == wanted).all()


@pytest.mark.parametrize("script", [prune_script, shortcut_prune, slim_prune])
def test_sparse_training_penalises_what_may_go(script: object) -> None:
    """At ratio 1 exactly the channels that are never penalised stay, but for one of each layer."""
    strategy = script.STRATEGY  # type: ignore[attr-defined]
    model = Darknet(RESIDUAL)
    targets = {gamma.data_ptr(): mask for gamma, mask in sparsity_targets(model, strategy)}
    found = {
        i: targets[gamma.data_ptr()].tolist()
        for i in (0, 1, 2)
        if (gamma := model.layers[i].get_parameter("bn.weight")).data_ptr() in targets
    }
    whole = {0: [True] * 4, 1: [True] * 3, 2: [True] * 4}
    wanted = {"prune": (1,), "shortcut_prune": (0, 1), "slim_prune": (0, 1, 2)}
    assert found == {i: whole[i] for i in wanted[script.__name__]}  # type: ignore[attr-defined]
    plan = make_plan(graph_of(RESIDUAL), scores_of(GAMMAS), strategy.channels, 1.0)
    for i in found:
        assert len(kept(plan, i)) < len(whole[i])


def test_rules_are_for_convolutions_of_any_kind() -> None:
    layers = rules(
        conv(4), conv(4, groups=4), section("connected", output=3, batch_normalize=1), conv(2)
    )
    candidates = find_candidates(channel_graph(layers), ChannelRule("max"))
    assert {i: mask.tolist() for i, mask in candidates.prunable.items() if mask.any()} == {
        0: [True] * 4, 1: [True] * 4, 2: [True] * 3,
    }  # fmt: skip
