"""What a plan leaves, by its widths alone, is what the layers of its cfg say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.nets import conv, head, net, section
from tests.support.prune_case import RULES, Case
from tests.support.random_cfgs import cfgs, planned
from utils.cfg import Cfg
from utils.network.graph import channel_graph
from utils.network.layers import build_layers
from utils.pruning.goals.budget import cost, pruned_layers
from utils.pruning.goals.layer_costs import FromShape, quick_cost

MEASURES: tuple[FromShape, ...] = ("params", "macs", "file")
JOINED = net(
    conv(8, stride=2), conv(12, stride=2), conv(12, groups=12), conv(12, 1),
    section("shortcut", frm=-3, activation="linear"), conv(10), section("route", layers="-1,-3"),
    conv(6, 1, batch_normalize=None), head(),
)  # fmt: skip


@pytest.mark.parametrize("measure", MEASURES)
def test_it_is_what_building_the_layers_says(measure: FromShape) -> None:
    case = Case(JOINED, ratio=0.0)
    quick = quick_cost(case.graph, measure)
    assert quick is not None
    found = set()
    for seed in range(12):
        case.replan("slim", 0.08 * seed, seed)
        exact = cost(pruned_layers(case.cfg, case.plan), measure)
        assert quick(case.plan.keep) == exact
        found.add(exact)
    assert len(found) > 6


@settings(max_examples=15, deadline=None)
@given(cfgs(), st.integers(0, 2**16), st.floats(0, 0.49))
def test_of_any_network_it_is_right_or_not_there(cfg: Cfg, seed: int, ratio: float) -> None:
    _, plan = planned(cfg, seed, RULES["slim"], ratio)
    for measure in MEASURES:
        quick = quick_cost(plan.graph, measure)
        if quick is not None:
            assert quick(plan.keep) == cost(pruned_layers(cfg, plan), measure)


def test_where_other_layers_cost_something_it_says_so() -> None:
    both = [net(conv(8, stride=2), *extra, head()) for extra in ([], [section("batchnorm")])]
    plain, other = (quick_cost(channel_graph(build_layers(cfg)), "params") for cfg in both)
    assert plain is not None and other is None
