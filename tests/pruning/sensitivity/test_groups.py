"""Groups of tied layers, found on small graphs by hand, and the plans that cut one of them."""

from __future__ import annotations

import numpy as np
import pytest

from models import Darknet
from tests.support.nets import conv, head, healthy_state, net, random_net, section
from tests.support.prune_case import RULES
from utils.cfg import Cfg
from utils.network.graph import channel_graph
from utils.network.layers import build_layers
from utils.pruning.importance.batch_norm import batch_norm_scale
from utils.pruning.sensitivity.groups import Cutter, find_groups, gone, make_cutter

SUMMED = net(conv(8), conv(4, 1), conv(8), section("shortcut", frm=-3), conv(6, stride=2), head())
# Layer 1's channels are cut into two halves, of which one is read.
PARTED = net(
    conv(4), conv(8), section("route", layers=-1, groups=2, group_id=1), conv(6), head()
)  # fmt: skip
# Depthwise: layer 1 has no channels of its own; a join of layers 0 and 3 ties nothing.
JOINED = net(
    conv(8), conv(8, groups=8), conv(4, 1), conv(6), section("route", layers="0,3"), conv(5), head()
)  # fmt: skip


def groups(cfg: Cfg) -> list[tuple[tuple[int, ...], int]]:
    """Layers and channels of each group."""
    found = find_groups(channel_graph(build_layers(cfg)))
    return [(group.layers, len(group.classes)) for group in found]


def test_groups_of_small_networks() -> None:
    assert groups(SUMMED) == [((0, 2), 8), ((1,), 4), ((4,), 6), ((5,), 14)]
    assert groups(JOINED) == [((0, 1), 8), ((2,), 4), ((3,), 6), ((5,), 5), ((6,), 14)]
    assert groups(PARTED) == [((0,), 4), ((1,), 8), ((3,), 6), ((4,), 14)]


def test_layers_of_equal_parts_are_one_group() -> None:
    """A grouped convolution reads halves made by two layers: neither may lose alone."""
    cfg = net(
        conv(8, stride=2), conv(4), section("route", layers="-2"), conv(4),
        section("route", layers="1,3"), conv(8, groups=2), head(),
    )  # fmt: skip
    assert dict(groups(cfg))[(1, 3)] == 8
    alone = net(
        conv(8, stride=2), conv(4), section("route", layers="-2"), conv(4),
        section("route", layers="1,3"), conv(8), head(),
    )  # fmt: skip
    assert (1, 3) not in dict(groups(alone))  # negative control


@pytest.mark.parametrize("seed", range(8))
def test_every_channel_is_in_one_group(seed: int) -> None:
    graph = channel_graph(build_layers(random_net(seed)))
    found = find_groups(graph)
    ids = np.concatenate([group.classes for group in found])
    assert len(np.unique(ids)) == len(ids)
    assert sorted(i for group in found for i in group.layers) == sorted(graph.issued)
    for group in found:
        assert set(np.concatenate([graph.issued[i] for i in group.layers])) == set(group.classes)


def cutter(cfg: Cfg, rule: str = "slim", **excluded: str) -> Cutter:
    model = Darknet(cfg)
    graph = channel_graph(model.rules)
    scores = batch_norm_scale(graph, healthy_state(model))
    reasons = {int(name[1:]): why for name, why in excluded.items()}
    return make_cutter(graph, scores, RULES[rule], reasons)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_a_cut_takes_the_least_important_of_one_group(seed: int, share: float) -> None:
    ours = cutter(random_net(seed))
    for group in ours.groups():
        plan = ours.plan(group, share)
        away = gone(plan, group)
        assert (~plan.keep).sum() == len(away) <= share * len(group.classes) + 1e-9
        for index in ours.graph.issued:
            assert plan.kept(index).any()
        bound = {c for parts in ours.graph.equal_parts for c in np.unique(parts)}
        if len(away) and not bound & set(group.classes.tolist()) and len(group.layers) == 1:
            stay = np.setdiff1d(group.classes, away)
            kept = ours.value[stay]
            assert ours.value[away].max() <= kept[~np.isnan(kept)].min(initial=np.inf)


def test_a_share_is_counted_exactly() -> None:
    """0.29 of 100 channels are 29, though 0.29 * 100 is a little less in floating point."""
    assert int(0.29 * 100) == 28
    ours = cutter(net(conv(100, 1), conv(4), head()))
    group = next(iter(ours.groups()))
    counts = [len(gone(ours.plan(group, k / 100), group)) for k in range(1, 100)]
    assert counts == list(range(1, 100))


def test_a_group_that_is_cut_whole_keeps_its_best_channel() -> None:
    ours = cutter(net(conv(4), conv(4), head()))
    group = next(iter(ours.groups()))
    plan = ours.plan(group, 0.999)
    assert len(gone(plan, group)) == 3
    (best,) = group.classes[plan.keep[group.classes]]
    assert ours.value[best] == ours.value[group.classes].max()


def test_whose_channels_may_not_go_has_no_group() -> None:
    assert [group.layers for group in cutter(SUMMED).groups()] == [(0, 2), (1,), (4,)]
    assert [group.layers for group in cutter(SUMMED, "keep").groups()] == [(1,), (4,)]
    assert [g.layers for g in cutter(SUMMED, l1="excluded").groups()] == [(0, 2), (4,)]
    assert [g.layers for g in cutter(SUMMED, l2="excluded").groups()] == [(1,), (4,)]


def test_halves_stay_halves() -> None:
    ours = cutter(PARTED)
    group = next(group for group in ours.groups() if group.layers == (1,))
    for share in (0.25, 0.5, 0.75):
        keep = ours.plan(group, share).kept(1)
        assert int(keep[:4].sum()) == int(keep[4:].sum())
