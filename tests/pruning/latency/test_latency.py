"""`--target-latency-ms`: the table, the greedy choice, and what comes out."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import layer_channel_prune
import slim_prune
from models import Darknet
from tests.support.installed.opencv_version import needs_cfg_importer
from tests.support.nets import conv, head, healthy, healthy_state, net, section
from tests.support.prune_case import prune_by_flags
from utils.cfg import Cfg, plain_text
from utils.command.errors import UserError
from utils.command.machine.timing import Latency
from utils.network.graph import ChannelGraph, channel_graph
from utils.network.layers import build_layers
from utils.network.weights import State
from utils.pruning.foldable import removable_blocks
from utils.pruning.goals.greedy import meet_latency, removal_order
from utils.pruning.goals.latency import LatencyTable, WidthTimes, measure_table
from utils.pruning.goals.layer_costs import by_time
from utils.pruning.importance.batch_norm import batch_norm_scale
from utils.pruning.importance.scores import Scores
from utils.pruning.plan import Limits, PrunePlan, drop_blocks, keep_everything
from utils.pruning.proof.gate import prove
from utils.pruning.report.result import Pruned
from utils.pruning.strategy import ChannelRule
from utils.pruning.surgery import prune
from utils.runtimes.passes import make_pass

SLIM = ChannelRule("max", "ratio", keep_threshold=False)
FIRST = ChannelRule("first")
RESIDUAL = net(
    conv(32), conv(16, 1), conv(32), section("shortcut", frm=-3),
    conv(16, 1), conv(32), section("shortcut", frm=-3),
    conv(32, groups=32), conv(48, stride=2), section("route", layers=-1, groups=2, group_id=1),
    conv(16), head(),
)  # fmt: skip


def proportional(graph: ChannelGraph) -> LatencyTable:
    """A table in which a layer takes a millisecond per million MACs."""
    layers = {}
    for layer in graph.layers:
        if layer.macs():
            counts = layer.inputs[0][0], layer.shape[0]
            full = layer.macs() / 1e6
            tied = layer.groups > 1
            times = np.array([[0, full]]) if tied else np.array([[0, 0], [0, full]])
            widths = (np.array([0.0, count]) for count in counts)
            layers[layer.index] = WidthTimes(*widths, times, tied)
    alone = sum(times.times_ms[-1, -1] for times in layers.values())
    return LatencyTable(graph, layers, Latency(alone, alone, alone))


def meet(
    start: PrunePlan, scores: Scores, rule: ChannelRule, table: LatencyTable, goal_ms: float,
    layer_keep: float = 0.0, limits: Limits | None = None,
) -> PrunePlan:  # fmt: skip
    """The plan that meets a latency with importance over time."""
    order = removal_order(start, scores, rule, by_time(table), layer_keep, limits)
    return meet_latency(order, table, goal_ms)


def prepared(cfg: Cfg = RESIDUAL) -> tuple[State, ChannelGraph, Scores, LatencyTable]:
    model = Darknet(cfg)
    state = healthy_state(model)
    graph = channel_graph(model.rules)
    return state, graph, batch_norm_scale(graph, state), proportional(graph)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("rule", [SLIM, FIRST, ChannelRule("keep")])
def test_the_goal_is_met_within_one_percent(rule: ChannelRule, share: float) -> None:
    state, graph, scores, table = prepared()
    goal = share * table.alone_ms
    plan = meet(keep_everything(graph), scores, rule, table, goal)
    assert table.sum_ms(plan.keep) == pytest.approx(goal, rel=0.01)
    cfg, cut = prune(RESIDUAL, state, plan)
    # The table of this test is the MACs, so the pruned network itself says the same.
    macs = sum(layer.macs() for layer in build_layers(cfg))
    assert macs / 1e6 == pytest.approx(table.sum_ms(plan.keep), rel=1e-9)
    assert prove(state, plan, cfg, cut).masked < 1e-12
    assert math.isnan(plan.threshold)


def test_floors_multiples_and_limits_hold() -> None:
    _, graph, scores, table = prepared(net(conv(64), conv(128, stride=2), conv(64, 1), head()))
    start, goal = keep_everything(graph), 0.5 * table.alone_ms
    rounded = meet(start, scores, SLIM, table, goal, 0.25, Limits(round_to=4))
    counts = {i: int(rounded.keep[ids].sum()) for i, ids in graph.issued.items() if i < 3}
    assert all(count % 4 == 0 for count in counts.values())
    assert all(count >= 0.25 * len(graph.issued[i]) for i, count in counts.items())
    spared = meet(start, scores, SLIM, table, goal, limits=Limits({1: "mine"}))
    assert spared.kept(1).all() and not spared.kept(0).all()
    floors = Limits(floors=((graph.issued[1], 125),))
    capped = meet(start, scores, SLIM, table, goal, limits=floors)
    free = meet(start, scores, SLIM, table, goal)
    assert int(free.kept(1).sum()) < 125 <= int(capped.kept(1).sum())
    limited = meet(start, scores, SLIM, table, 0.8 * table.alone_ms, 0, Limits({}, 0.3))
    for index in (0, 1, 2):
        assert limited.kept(index).sum() >= 0.7 * len(limited.kept(index))
    with pytest.raises(UserError, match="cannot be reached; with these floors and ties it takes"):
        meet(start, scores, SLIM, table, 0.3 * table.alone_ms, 0, Limits({}, 0.3))


def test_what_costs_much_time_for_its_importance_goes_first() -> None:
    """Two layers of equal scores: channels of the one whose times are higher go."""
    cfg = net(conv(16, 1), conv(16, 1), head())
    _, graph, _, _ = prepared(cfg)
    scores = {0: np.ones(16), 1: np.ones(16)}
    widths = np.array([0.0, 16.0])
    flat = WidthTimes(widths, widths, np.array([[1.0, 1.0], [1.0, 1.0]]))
    steep = WidthTimes(widths, widths, np.array([[0.0, 8.0], [0.0, 8.0]]))
    whole = Latency(10.0, 10.0, 10.0)
    table = LatencyTable(graph, {0: flat, 1: steep, 2: flat}, whole)
    plan = meet(keep_everything(graph), scores, SLIM, table, 6.0)
    assert plan.kept(0).all()
    assert int(plan.kept(1).sum()) == 8
    other = LatencyTable(graph, {0: steep, 1: flat, 2: flat}, whole)
    plan = meet(keep_everything(graph), scores, SLIM, other, 6.0)
    assert plan.kept(1).all()
    assert int(plan.kept(0).sum()) == 8


def test_removed_blocks_take_no_time() -> None:
    state, graph, scores, table = prepared()
    start = drop_blocks(keep_everything(graph), scores, 1, *removable_blocks(graph, state))
    whole = table.sum_ms(start.keep, start.stand_in)
    assert whole < table.alone_ms
    plan = meet(start, scores, SLIM, table, 0.7 * whole)
    assert plan.dropped == start.dropped
    cfg, cut = prune(RESIDUAL, state, plan)
    macs = sum(layer.macs() for layer in build_layers(cfg))
    assert macs / 1e6 == pytest.approx(0.7 * whole, rel=0.01)
    prove(state, plan, cfg, cut)


def test_goals_that_make_no_sense() -> None:
    _, graph, scores, table = prepared()
    start = keep_everything(graph)
    with pytest.raises(UserError, match=r"100: the network takes .* ms as it is"):
        meet(start, scores, SLIM, table, 100.0)
    with pytest.raises(UserError, match="cannot be reached"):
        meet(start, scores, SLIM, table, 1e-4)
    with pytest.raises(UserError, match="not numbers"):
        meet(start, {**scores, 0: np.full(32, np.nan)}, SLIM, table, 0.1)


def test_times_between_the_measured_widths() -> None:
    times = WidthTimes(
        np.array([1.0, 5.0]), np.array([2.0, 4.0]), np.array([[1.0, 2.0], [3.0, 8.0]])
    )
    assert times.at(1, 2) == 1
    assert times.at(5, 4) == 8
    assert times.at(3, 3) == pytest.approx((1 + 2 + 3 + 8) / 4)
    assert times.at(9, 9) == 8
    assert WidthTimes(times.inputs, times.outputs, times.times_ms[:1], True).at(0, 3) == 1.5


@pytest.mark.parametrize("runtime", ["torch", pytest.param("opencv", marks=needs_cfg_importer)])
def test_a_measured_table(runtime: str) -> None:
    """Every layer with a kernel is there, equal ones once, and wider ones take no less."""
    cfg = net(
        conv(32), *[conv(16, 1), conv(32), section("shortcut", frm=-3)] * 2,
        conv(32, groups=32), conv(48, groups=2), head(),
    )  # fmt: skip
    built = []

    def passes(found: Cfg, img_hw: tuple[int, int], state: State | None = None) -> object:
        built.append(found)
        return make_pass(runtime, Darknet, found, img_hw, state)  # type: ignore[arg-type]

    graph = channel_graph(build_layers(cfg))
    table = measure_table(graph, cfg, lambda: sum(range(20_000)), passes)  # type: ignore[arg-type]
    assert set(table.layers) == {0, 1, 2, 4, 5, 7, 8, 9}
    assert table.layers[1] is table.layers[4]
    assert table.shapes == 6
    assert all((np.diff(t.times_ms, axis=1) >= 0).all() for t in table.layers.values())
    assert all((t.times_ms > 0).all() for t in table.layers.values())
    assert table.layers[7].tied and table.layers[8].tied and not table.layers[9].tied
    assert len(table.layers[0].inputs) == 1, "the image's channels stay"
    everything = np.ones(graph.count, bool)
    assert table.sum_ms(everything) == pytest.approx(table.whole.p10_ms)
    widths = {(c.net.integer("channels"), c.layers[0].integer("filters")) for c in built}
    assert {(16, 32), (2, 4), (1, 1)} <= widths


def test_attention_is_in_the_whole_time_alone() -> None:
    """It reads three layers, so that none runs alone; nor are there widths of a kernel."""
    linear = {"batch_normalize": None, "activation": "linear"}
    cfg = net(
        conv(8, 1), conv(8, 1, **linear), section("route", layers=0), conv(8, 1, **linear),
        section("route", layers=0), conv(8, 1, **linear),
        section("attention", frm="1,3,5", heads=2, area=1, scale=0.4), conv(8, 1), head(),
    )  # fmt: skip
    graph = channel_graph(build_layers(cfg))

    def passes(found: Cfg, img_hw: tuple[int, int], state: State | None = None) -> object:
        return make_pass("torch", Darknet, found, img_hw, state)

    table = measure_table(graph, cfg, lambda: sum(range(20_000)), passes)  # type: ignore[arg-type]
    assert set(table.layers) == {0, 1, 3, 5, 7, 8}
    everything = np.ones(graph.count, bool)
    assert table.sum_ms(everything) == pytest.approx(table.whole.p10_ms)


@pytest.mark.parametrize("runtime", ["torch", pytest.param("opencv", marks=needs_cfg_importer)])
def test_as_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    runtime: str,
) -> None:  # fmt: skip
    """The times are this test's: the runtime runs, but one layer takes what its MACs say."""
    cfg = net(conv(32), conv(16, 1), conv(32), section("shortcut", frm=-3), conv(32), head())
    (tmp_path / "my.cfg").write_text(plain_text(cfg))
    healthy(cfg).save_weights(tmp_path / "my.weights")
    table = proportional(channel_graph(build_layers(cfg)))
    monkeypatch.setattr("utils.pruning.goals.latency_goal.measure_table", lambda *_: table)
    goal = 9.6
    assert 0.5 < goal / table.alone_ms < 0.7
    files = ["--cfg", str(tmp_path / "my.cfg"), "--weights", str(tmp_path / "my.weights")]
    flags = ["--target-latency-ms", "9.6", "--runtime", runtime, "--report"]
    flags.append(str(tmp_path / "out"))
    found = prune_by_flags(slim_prune.STRATEGY, [*files, *flags])
    assert isinstance(found, Pruned) and found.latency is not None
    assert found.latency.table_ms == pytest.approx(goal, rel=0.01)
    assert found.latency.after.median_ms > 0
    assert found.latency.runtime == runtime
    assert found.cfg_path.name == "prune_latency9.6ms_keep_0.01_my.cfg"
    said = capsys.readouterr().out
    assert f"Latency ({runtime}): goal 9.6 ms, {found.latency.table_ms:.3f} by the table" in said
    assert "Threshold" not in said
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert f"Latency ({runtime}): goal 9.6 ms" in page
    both = [*files, *flags[:2], "--shortcuts", "1", "--dry-run"]
    blocks = prune_by_flags(layer_channel_prune.STRATEGY, both)
    assert isinstance(blocks, Pruned) and len(blocks.plan.dropped) == 1


def test_flags(capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["--target-latency-ms", "0"], "must be a positive number of milliseconds, got 0"),
        (["--target-latency-ms", "nan"], "must be a positive number"),
        (["--target-latency-ms", "5", "--runtime", "tpu"], "invalid choice: 'tpu'"),
    ):
        with pytest.raises(SystemExit):
            prune_by_flags(slim_prune.STRATEGY, words)
        assert message in capsys.readouterr().err
    with pytest.raises(UserError, match="--target-latency-ms: takes the place of --global-percent"):
        words = ["--weights", "my.pt", "--target-latency-ms", "5", "--global-percent=.5"]
        prune_by_flags(slim_prune.STRATEGY, words)
    with pytest.raises(UserError, match="--target-params: given twice"):
        words = ["--weights", "my.pt", "--target-params", "0.5", "--target-params", "0.4"]
        prune_by_flags(slim_prune.STRATEGY, words)
