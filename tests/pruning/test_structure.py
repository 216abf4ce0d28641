"""Which blocks may go for any weights: the reading without numbers agrees with the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import Darknet
from tests.support.nets import conv, healthy_state, net, section
from tests.support.random_cfgs import cfgs
from tests.support.zoo_cfgs import ZOO_CFGS
from utils.cfg import Cfg, load_cfg
from utils.network.graph import ChannelGraph, Mask, channel_graph, interpret
from utils.network.layers import Layer, UnfoldableError, build_layers
from utils.network.weights import State, key_of
from utils.pruning.foldable import removable_blocks
from utils.pruning.plan import PrunePlan, keep_everything
from utils.pruning.structure import removable_by_structure
from utils.pruning.surgery import walk_constants

SETTINGS = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def some_state(graph: ChannelGraph) -> State:
    """One half wherever a number may stand: no constant that may arrive is 0 by chance."""
    half = torch.full((1,), 0.5)
    return {
        key_of(layer.index, field.name): half.expand(field.shape)
        for layer in graph.layers
        for field in layer.fields()
    }


def by_structure(cfg: Cfg) -> tuple[list[int], Mapping[int, str]]:
    found, reasons = removable_by_structure(channel_graph(build_layers(cfg)))
    return [block.shortcut for block in found], reasons


def by_numbers(cfg: Cfg) -> tuple[list[int], Mapping[int, str]]:
    graph = channel_graph(build_layers(cfg))
    found, reasons = removable_blocks(graph, some_state(graph))
    return [block.shortcut for block in found], reasons


@pytest.mark.parametrize("path", ZOO_CFGS.values(), ids=ZOO_CFGS)
def test_zoo_cfgs_say_what_their_numbers_say(path: Path) -> None:
    cfg = load_cfg(path)
    assert by_structure(cfg) == by_numbers(cfg)


@SETTINGS
@given(cfgs())
def test_random_cfgs_say_what_their_numbers_say(cfg: Cfg) -> None:
    assert by_structure(cfg) == by_numbers(cfg)


def carried(plan: PrunePlan) -> list[Mask]:
    """Where a constant may be when the channels of the plan go."""

    def rule(layer: Layer, inputs: list[Mask]) -> Mask:
        return layer.carried(inputs, plan.kept(layer.index).numpy())

    layers = plan.graph.layers
    return interpret(layers, rule, np.zeros(layers[0].inputs[0][0], bool))


@SETTINGS
@given(cfgs(), st.integers(0, 99), st.sampled_from((0.1, 0.5, 0.9)))
def test_every_constant_is_where_one_may_be(cfg: Cfg, seed: int, share: float) -> None:
    """Classes go as chance wants it: what no plan would do must be foreseen, too."""
    model = Darknet(cfg)
    graph = channel_graph(model.rules)
    keep = np.random.default_rng(seed).random(graph.count) < share
    keep[list(graph.pinned)] = True
    plan = PrunePlan(graph, keep, 0.0, keep_everything(graph).candidates)
    may_be = carried(plan)  # channels that stay are the only ones where it could raise
    found = walk_constants(healthy_state(model, seed), plan)
    for index, mask in enumerate(may_be):
        assert not (found[index].numpy() != 0)[~mask].any()


BRANCH = [conv(16), conv(8, 1), conv(16), section("shortcut", frm=-3)]  # a block at layer 3


@pytest.mark.parametrize(
    ("behind", "reason"),
    [
        ([conv(8)], ""),
        ([section("upsample", stride=2), conv(8)], ""),
        ([section("maxpool", size=2, stride=2), conv(8)], ""),
        ([section("avgpool"), conv(8)], ""),
        ([section("reorg3d", stride=2), conv(8)], ""),
        ([section("crop", crop_height=8, crop_width=8), conv(8)], ""),
        ([section("route", layers=-1, groups=2, group_id=1), conv(8)], ""),
        ([section("cost"), conv(8)], ""),
        ([section("batchnorm"), section("activation", activation="mish"), conv(8)], ""),
        ([section("activation", activation="mish"), conv(8)], "meets mish"),
        ([section("shortcut", activation="relu", frm=-4), conv(8)], "meets relu"),
        ([section("sam", frm=-4), conv(8)], "meets a product"),
        ([section("softmax")], "meets [softmax]"),
        ([section("maxpool", maxpool_depth=1, out_channels=4), conv(8)], "meets maxpool_depth"),
        ([section("reorg3d", stride=2, reverse=1), conv(8)], "meets reorg3d"),
    ],
)
def test_what_a_constant_passes(behind: list[str], reason: str) -> None:
    cfg = net(*BRANCH, *behind, width=16, height=16)
    assert by_structure(cfg) == by_numbers(cfg)
    found, reasons = by_structure(cfg)
    assert (3 in found) == (not reason)
    assert not reason or reason in reasons[3]


def test_a_head_takes_no_constant() -> None:
    cfg = net(*BRANCH, section("yolo", mask=0, anchors="3,4", classes=11, num=1))
    assert by_structure(cfg)[1][3] == "a constant reaches the [yolo] head"


def test_a_constant_on_a_kept_channel_is_no_error_where_none_arrives() -> None:
    """Negative control of the walk: it raises for the block's own layer only."""
    cfg = net(conv(8), section("activation", activation="mish"), *BRANCH, conv(8))
    assert by_structure(cfg) == ([5], {})
    with pytest.raises(UnfoldableError):
        layer = build_layers(cfg)[1]
        layer.carried([np.ones(8, bool)], np.ones(8, bool))
