"""`--importance KIND:COST`, and several budgets at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import slim_prune
from models import Darknet
from tests.support.nets import conv, head, healthy, net, section
from tests.support.prune_case import prune_by_flags
from utils.cfg import Cfg, plain_text
from utils.command.errors import UserError
from utils.command.machine.timing import Latency
from utils.network.cost import count_macs, count_parameters
from utils.network.graph import ChannelGraph, channel_graph
from utils.network.layers import build_layers
from utils.pruning.goals.budget import pruned_layers
from utils.pruning.goals.greedy import meet_latency, removal_order
from utils.pruning.goals.latency import LatencyTable, WidthTimes
from utils.pruning.goals.layer_costs import by_shape, by_time
from utils.pruning.importance.scores import Scores
from utils.pruning.plan import PrunePlan, keep_everything
from utils.pruning.report.result import Pruned
from utils.pruning.strategy import ChannelRule

SLIM = ChannelRule("max", "ratio", keep_threshold=False)
EARLY_DEAR = net(conv(32), conv(32, stride=4), conv(64, stride=2), head())
TIED = net(
    conv(16), conv(8, 1), conv(16), section("shortcut", frm=-3), conv(16, groups=16), conv(16, 1),
    head(),
)  # fmt: skip


def graph_of(cfg: Cfg) -> ChannelGraph:
    return channel_graph(Darknet(cfg).rules)


def equal(graph: ChannelGraph) -> Scores:
    return {index: np.ones(len(ids)) for index, ids in graph.issued.items()}


@pytest.mark.parametrize("cfg", [EARLY_DEAR, TIED])
@pytest.mark.parametrize("cost", ["params", "macs"])
def test_costs_of_layers_are_those_of_the_network_they_leave(cfg: Cfg, cost: str) -> None:
    graph = graph_of(cfg)
    costs = by_shape(graph, cost)  # type: ignore[arg-type]
    order = removal_order(keep_everything(graph), equal(graph), SLIM, costs, 0.2)
    count = count_macs if cost == "macs" else count_parameters
    for share in (0.0, 0.3, 1.0):
        plan = order.first(share)
        told = sum(costs.of(index, plan.keep) for index in costs.layers)
        assert told == pytest.approx(count(pruned_layers(cfg, plan)), rel=1e-12)


def test_of_equal_channels_those_that_cost_most_go_first() -> None:
    """Early layers cost the MACs, late ones the parameters."""
    graph = graph_of(EARLY_DEAR)

    def left(cost: str) -> list[int]:
        costs = by_shape(graph, cost)  # type: ignore[arg-type]
        order = removal_order(keep_everything(graph), equal(graph), SLIM, costs)
        plan = order.plan(order.sequence[:16])
        return [int(plan.kept(index).sum()) for index in (0, 1, 2)]

    by_macs, by_params = left("macs"), left("params")
    assert by_macs[0] < 32 and by_macs[2] == 64
    assert by_params[0] == 32 and by_params[1] < 32


def files_of(folder: Path, cfg: Cfg) -> list[str]:
    (folder / "my.cfg").write_text(plain_text(cfg))
    healthy(cfg).save_weights(folder / "my.weights")
    return ["--weights", str(folder / "my.weights")]


def pruned(words: list[str]) -> Pruned:
    found = prune_by_flags(slim_prune.STRATEGY, [*words, "--dry-run"])
    assert isinstance(found, Pruned)
    return found


def shares(found: Pruned) -> tuple[float, float]:
    before, after = found.before, found.after
    return after.parameters / before.parameters, after.macs / before.macs


@pytest.mark.parametrize("importance", ["l1", "l1:params", "l1:macs"])
def test_several_budgets_hold_together(tmp_path: Path, importance: str) -> None:
    words = [*files_of(tmp_path, EARLY_DEAR), "--importance", importance]
    params, macs = ["--target-params", "0.5"], ["--target-macs", "0.4"]
    both = shares(pruned([*words, *params, *macs]))
    assert both[0] <= 0.51 and both[1] <= 0.41
    one, other = shares(pruned([*words, *params])), shares(pruned([*words, *macs]))
    # Controls: each alone is met by itself, and one of the two is what both together give.
    assert abs(one[0] - 0.5) <= 0.01 and abs(other[1] - 0.4) <= 0.01
    assert both in (one, other)


def test_a_cost_chooses_other_channels_than_none(tmp_path: Path) -> None:
    words = [*files_of(tmp_path, EARLY_DEAR), "--target-params", "0.5"]
    plain, priced = (pruned([*words, "--importance", kind]) for kind in ("l1", "l1:params"))
    assert not np.array_equal(plain.plan.keep, priced.plan.keep)
    assert priced.plan.channels > plain.plan.channels  # fewer, dearer ones go
    assert priced.chooser.importance == "kernel's L1 norm per parameter saved"


def test_a_latency_and_a_share_hold_together() -> None:
    graph = graph_of(EARLY_DEAR)
    layers = build_layers(EARLY_DEAR)
    times = {
        layer.index: WidthTimes(
            np.array([0.0, layer.inputs[0][0]]), np.array([0.0, layer.shape[0]]),
            np.array([[0.0, 0.0], [0.0, layer.macs() / 1e6]]),
        )
        for layer in layers
        if layer.macs()
    }  # fmt: skip
    whole = sum(float(each.times_ms[-1, -1]) for each in times.values())
    table = LatencyTable(graph, times, Latency(whole, whole, whole))
    order = removal_order(keep_everything(graph), equal(graph), SLIM, by_time(table))
    total = sum(map(len, graph.issued.values()))

    def few(plan: PrunePlan) -> bool:
        return plan.channels <= 0.4 * total

    alone = meet_latency(order, table, 0.7 * whole)
    assert not few(alone)  # control
    both = meet_latency(order, table, 0.7 * whole, few)
    assert few(both) and table.sum_ms(both.keep) <= 0.7 * whole
    with pytest.raises(UserError, match="beside the latency cannot be reached"):
        meet_latency(order, table, 0.7 * whole, lambda _: False)


@pytest.mark.parametrize(
    ("text", "message"),
    [("lll", "'lll' (choose from bn"), ("l1:watts", "'watts' (choose from params")],
)
def test_names_that_are_none(text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        prune_by_flags(slim_prune.STRATEGY, ["--weights", "my.pt", "--importance", text])
    assert message in capsys.readouterr().err
