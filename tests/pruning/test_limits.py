"""Budgets, multiples, chosen layers, the known suite's sets, and residual blocks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models import Darknet
from tests.support.nets import conv, head, healthy_state, net, section
from utils.cfg import Cfg, load_cfg, parse_cfg, plain_text
from utils.command.errors import UserError
from utils.network.graph import ChannelGraph, channel_graph
from utils.network.layers import build_layers
from utils.network.named_layers import excluded_layers
from utils.network.weights import State
from utils.pruning.blocks import find_blocks
from utils.pruning.choice.compat import kept_by_the_known_suite
from utils.pruning.foldable import removable_blocks
from utils.pruning.goals.budget import cost, pruned_layers, solve
from utils.pruning.importance.batch_norm import batch_norm_scale
from utils.pruning.importance.scores import Scores
from utils.pruning.options import Budget
from utils.pruning.plan import Limits, PrunePlan, drop_blocks, keep_everything, make_plan
from utils.pruning.proof.gate import GateError, prove
from utils.pruning.strategy import ChannelRule
from utils.pruning.surgery import prune

SLIM = ChannelRule("max", "ratio", keep_threshold=False)

RESIDUAL = (
    conv(8),
    conv(4, 1), conv(8), section("shortcut", frm=-3, activation="linear"),
    conv(4, 1), conv(8), section("shortcut", frm=-3, activation="linear"),
    conv(16, stride=2),
    conv(8, 1), conv(16), section("shortcut", frm=-3, activation="linear"),
    section("route", layers="-1,-4"),
    head(),
)  # fmt: skip


def wide(filters: int = 64) -> Cfg:
    return net(conv(filters), conv(2 * filters, stride=2), conv(filters, 1), head())


def prepared(cfg: Cfg, seed: int = 0) -> tuple[State, ChannelGraph, Scores]:
    model = Darknet(cfg)
    state = healthy_state(model, seed)
    graph = channel_graph(model.rules)
    return state, graph, batch_norm_scale(graph, state)


@pytest.mark.parametrize("measure", ["params", "macs"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_budget_is_met_within_one_percent(measure: str, share: float) -> None:
    cfg = wide()
    _, graph, scores = prepared(cfg)
    _, plan = solve(
        cfg,
        Budget(measure, share),  # type: ignore[arg-type]
        lambda ratio: make_plan(graph, scores, SLIM, ratio),
    )
    layers = build_layers(cfg)
    reached = cost(pruned_layers(cfg, plan), measure) / cost(layers, measure)  # type: ignore[arg-type]
    assert abs(share - reached) <= 0.01


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_a_share_of_the_channels_is_met_as_closely_as_whole_ones_allow(share: float) -> None:
    cfg = wide()
    _, graph, scores = prepared(cfg)

    def plan_at(ratio: float) -> PrunePlan:
        return make_plan(graph, scores, SLIM, ratio)

    total = sum(map(len, graph.issued.values()))
    _, plan = solve(cfg, Budget("channels", share), plan_at)
    found = abs(plan.channels - share * total)
    # No other ratio comes nearer, and none of the network's channels is counted twice.
    assert found <= min(abs(plan_at(k / 256).channels - share * total) for k in range(257))
    layers = pruned_layers(cfg, plan)
    assert plan.channels == sum(layers[index].shape[0] for index in graph.issued)


def test_the_cost_is_that_of_the_pruned_cfg() -> None:
    cfg = net(*RESIDUAL)
    state, graph, scores = prepared(cfg)
    blocks, others = removable_blocks(graph, state)
    plan = drop_blocks(make_plan(graph, scores, SLIM, 0.4), scores, 1, blocks, others)
    cut, _ = prune(cfg, state, plan)
    for measure in ("params", "macs"):
        assert cost(pruned_layers(cfg, plan), measure) == cost(build_layers(cut), measure)


def test_a_budget_out_of_reach_says_what_is_left() -> None:
    cfg = wide()
    _, graph, scores = prepared(cfg)
    with pytest.raises(UserError, match=r"--target-params 0\.001: cannot be reached.*at least"):
        solve(
            cfg, Budget("params", 0.001), lambda ratio: make_plan(graph, scores, SLIM, ratio, 0.5)
        )


@pytest.mark.parametrize("multiple", [4, 8])
def test_counts_are_rounded_up_to_multiples(multiple: int) -> None:
    cfg = net(*RESIDUAL)
    _, graph, scores = prepared(cfg)
    plain = make_plan(graph, scores, SLIM, 0.5)
    rounded = make_plan(graph, scores, SLIM, 0.5, limits=Limits(round_to=multiple))
    counts = {i: int(rounded.keep[c].sum()) for i, c in graph.issued.items()}
    assert any(int(plain.keep[c].sum()) % multiple for c in graph.issued.values())
    for index, count in counts.items():
        size = len(graph.issued[index])
        assert count % multiple == 0 or count == size
    assert not (plain.keep & ~rounded.keep).any()  # nothing more goes than without rounding


def test_max_ratio_is_what_a_layer_loses_at_most() -> None:
    cfg = wide()
    _, graph, scores = prepared(cfg)
    plan = make_plan(graph, scores, SLIM, 0.9, limits=Limits(max_ratio=0.25))
    for index in (0, 1, 2):
        kept = int(plan.kept(index).sum())
        assert kept >= 0.75 * len(graph.issued[index])
    loose = make_plan(graph, scores, SLIM, 0.9)
    assert int(loose.kept(0).sum()) < 0.75 * 64


def test_excluded_and_only() -> None:
    cfg = wide()
    _, graph, scores = prepared(cfg)
    assert set(excluded_layers(graph, ["0-1"], [])) == {0, 1}
    assert set(excluded_layers(graph, [], ["1"])) == {0, 2, 3}
    assert set(excluded_layers(graph, ["convolutional"], [])) == {0, 1, 2, 3}
    plan = make_plan(graph, scores, SLIM, 0.8, limits=Limits(excluded_layers(graph, [], ["1"])))
    assert plan.kept(0).all() and plan.kept(2).all() and not plan.kept(1).all()
    assert plan.candidates.reasons[0] == "not in --only"


@pytest.mark.parametrize(
    ("exclude", "only", "message"),
    [
        (["77"], [], "--exclude 77: names no layer"),
        ([], ["yolo"], "--only yolo: names no layer"),
        ([], ["3"], r"--only 3: none of its channels can go: read by the \[yolo\] head"),
    ],
)
def test_a_layer_that_cannot_be_chosen(exclude: list[str], only: list[str], message: str) -> None:
    _, graph, _ = prepared(wide())
    with pytest.raises(UserError, match=message):
        excluded_layers(graph, exclude, only)


@pytest.mark.parametrize(
    ("name", "normalized", "without_summed", "all_strategies", "kept"),
    [
        ("yolov3", 72, 42, 70, {84, 96}),
        ("yolov3-spp", 73, 42, 70, {77, 91, 103}),
        ("yolov3-tiny", 11, 10, 10, {18}),
        ("yolov4", 107, 76, 104, {107, 117, 127}),
        ("yolov4-tiny", 19, 15, 15, {2, 10, 18, 32}),
    ],
)
def test_the_known_suites_sets(
    name: str, normalized: int, without_summed: int, all_strategies: int, kept: set[int]
) -> None:
    layers = build_layers(load_cfg(f"cfg/{name}.cfg"))
    convolutions = {layer.index for layer in layers if layer.normalized}
    others = convolutions - set(kept_by_the_known_suite(layers, keep_summed=False))
    plain = convolutions - set(kept_by_the_known_suite(layers, keep_summed=True))
    assert (len(convolutions), len(plain), len(others)) == (
        normalized, without_summed, all_strategies,
    )  # fmt: skip
    assert convolutions - others == kept


def test_blocks_of_a_residual_net() -> None:
    _, graph, _ = prepared(net(*RESIDUAL))
    blocks, reasons = find_blocks(graph)
    assert [(b.source, b.shortcut, b.judge) for b in blocks] == [(0, 3, 2), (3, 6, 5), (7, 10, 9)]
    assert not reasons


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        (
            (
                conv(8), conv(8),
                section(
                    "shortcut", frm=-2, weights_type="per_feature", weights_normalization="relu"
                ),
                head(),
            ),
            "not a plain sum",
        ),
        (
            (
                conv(8), conv(8), conv(8), section("shortcut", frm=-3),
                section("route", layers="-1,-3"), head(),
            ),
            "layer 4 reads inside its block",
        ),
        (
            (conv(8), conv(8, batch_normalize=None), section("shortcut", frm=-2), head()),
            "does not end in a convolution with batch normalisation",
        ),
        (
            (conv(6), conv(8), section("shortcut", frm=-2), head()),
            "not a plain sum",
        ),
    ],
)  # fmt: skip
def test_shortcuts_that_cannot_go(sections: tuple[str, ...], reason: str) -> None:
    _, graph, _ = prepared(net(*sections))
    blocks, reasons = find_blocks(graph)
    assert not blocks
    (found,) = reasons.values()
    assert reason in found


def test_a_constant_that_meets_a_product_keeps_its_block() -> None:
    cfg = net(
        conv(8), conv(8), section("shortcut", frm=-2),
        conv(8, 1, activation="logistic"), section("sam", frm=2), head(),
    )  # fmt: skip
    state, graph, _ = prepared(cfg)
    assert len(find_blocks(graph)[0]) == 1
    blocks, reasons = removable_blocks(graph, state)
    assert not blocks
    assert "product" in reasons[2]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_dropping_blocks_is_exact(count: int) -> None:
    cfg = net(*RESIDUAL)
    state, graph, scores = prepared(cfg)
    plan = make_plan(graph, scores, SLIM, 0.3)
    plan = drop_blocks(plan, scores, count, *removable_blocks(graph, state))
    cut, small = prune(cfg, state, plan)
    cut = parse_cfg(plain_text(cut))
    assert len(cut.layers) == len(cfg.layers) - 3 * count
    proof = prove(state, plan, cut, small)
    assert max(proof.masked, proof.folded) < 1e-12


def test_the_block_of_lowest_mean_score_goes_first() -> None:
    _, graph, scores = prepared(net(*RESIDUAL))
    set_scores = {index: np.full_like(score, 1.0) for index, score in scores.items()}
    set_scores[5] = np.full_like(scores[5], 0.1)
    blocks, others = find_blocks(graph)
    plan = drop_blocks(keep_everything(graph), set_scores, 1, blocks, others)
    assert [block.shortcut for block in plan.dropped] == [6]
    with pytest.raises(UserError, match="4 shortcuts cannot go: the network has 3"):
        drop_blocks(keep_everything(graph), set_scores, 4, blocks, others)


def test_a_forgotten_constant_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without folding what the dropped branch emitted, the gate does not open."""
    cfg = net(*RESIDUAL)
    state, graph, scores = prepared(cfg)
    plan = drop_blocks(keep_everything(graph), scores, 1, *find_blocks(graph))
    monkeypatch.setattr(
        "utils.network.layers.Convolutional.absorb", lambda self, params, inputs: params
    )
    cut, small = prune(cfg, state, plan)
    with pytest.raises(GateError, match="differs from the masked network"):
        prove(state, plan, parse_cfg(plain_text(cut)), small)


def test_what_shares_a_kernel_and_two_constants_stays() -> None:
    """The kernel's owner and its user read channels that emit different constants."""
    shared = net(conv(8), conv(8), conv(8, share_index=-1), head())
    graph = channel_graph(build_layers(shared))
    assert graph.pinned[int(graph.issued[0][0])].startswith("the kernel shared by layers 1 and 2")
    same = net(conv(8), conv(8), section("route", layers=0), conv(8, share_index=1), head())
    free = channel_graph(build_layers(same))
    assert "the kernel shared" in str(free.pinned)  # it reads a [route], not layer 0 itself
    branches = net(
        conv(8),
        section("maxpool", size=3, stride=1),
        conv(8),
        section("route", layers=1),
        conv(8, share_index=2),
        head(),
    )
    assert "the kernel shared" in str(channel_graph(build_layers(branches)).pinned)


def test_plan_without_blocks_has_no_stand_ins() -> None:
    _, graph, _ = prepared(net(*RESIDUAL))
    plan: PrunePlan = replace(keep_everything(graph), dropped=())
    assert plan.stand_in == {} and plan.silent == frozenset()


def test_max_ratio_binds_followers_too() -> None:
    """Layer 2 is added to channels 0..3 of layer 0, of which the leader wants none."""
    cfg = net(conv(8), section("maxpool", size=1), conv(4), section("shortcut", frm=0), head())
    _, graph, _ = prepared(cfg)
    scores = {0: np.arange(8.0) + 1, 2: np.arange(4.0) + 1}
    first = ChannelRule("first")
    loose = make_plan(graph, scores, first, 0.5)
    assert [int(loose.kept(i).sum()) for i in (0, 2)] == [5, 1]
    bound = make_plan(graph, scores, first, 0.5, limits=Limits(max_ratio=0.5))
    assert [int(bound.kept(i).sum()) for i in (0, 2)] == [6, 2]
    assert bound.kept(2).tolist() == [False, False, True, True]
