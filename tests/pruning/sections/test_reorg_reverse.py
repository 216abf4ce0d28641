"""`[reorg] reverse=1`: a channel of the result goes with the filters that it is made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import Darknet
from tests.support.nets import conv, head, healthy_state, net, rules, section
from tests.support.prune_case import Case, compared
from utils.cfg import Cfg, CfgError
from utils.network.graph import channel_graph
from utils.network.importers import require_darknet, require_opencv
from utils.network.layers import UnfoldableError
from utils.pruning.proof.gate import GateError, prove

SPREAD = 2  # the [reorg]


def upsampled(**options: object) -> Cfg:
    """YOLOv6's upsampling between two convolutions, and a sum with its result."""
    usual: dict[str, object] = {"activation": "linear"}
    return net(
        conv(8, stride=2), conv(24, 1, **{**usual, **options}),
        section("reorg", stride=2, reverse=1),
        conv(6), conv(10, stride=2), head(), width=32, height=24,
    )  # fmt: skip


def level_state(cfg: Cfg) -> dict[str, torch.Tensor]:
    """All four filters of a channel have one bias, as a transposed convolution's have."""
    state = healthy_state(Darknet(cfg))
    state["layers.1.bn.bias"] = state["layers.1.bn.bias"][:6].repeat(4)
    return state


def test_channels_go_with_their_filters() -> None:
    graph = channel_graph(rules(conv(12, 1), section("reorg", stride=2, reverse=1), conv(4)))
    classes = graph.outputs[0].reshape(4, 3)
    assert (classes == classes[0]).all()
    assert np.array_equal(graph.outputs[1], classes[0])
    assert len(set(classes[0])) == 3
    assert not set(classes[0]) & set(graph.pinned)


@pytest.mark.parametrize("seed", range(4))
def test_pruned_equals_masked(seed: int) -> None:
    cfg = upsampled()
    case = Case(cfg, state=level_state(cfg))
    case.replan("slim", 0.9, seed)
    proof = case.prove()
    assert max(proof.masked, proof.folded) < 1e-9
    assert compared(case) < 1e-9
    kept = case.plan.kept(1).view(4, 6)
    assert (kept == kept[0]).all()
    assert 0 < int(kept[0].sum()) < 6
    small, _ = case.pruned()
    assert small.layers[1].integer("filters") == int(kept.sum())


def test_biases_that_differ_count_as_their_mean() -> None:
    """What a removed channel emits is then a pattern, and no layer can take it in as it is."""
    case = Case(upsampled())
    case.replan("slim", 0.9, 0)
    proof = case.prove()
    assert max(proof.masked, proof.folded) < 1e-9
    assert compared(case) > 1e-4
    cfg, state = case.pruned()
    state["layers.1.bn.weight"] = state["layers.1.bn.weight"].flip(0)
    with pytest.raises(GateError):
        prove(case.state, case.plan, cfg, state)


def test_an_offset_on_a_kept_channel_must_be_one() -> None:
    layer = rules(conv(12, 1), section("reorg", stride=2, reverse=1))[1]
    kept = torch.tensor([True, True, False])
    numbers = torch.arange(12.0)
    with pytest.raises(UnfoldableError, match="reverse=1"):
        layer.constants({}, [numbers], kept)
    numbers = torch.tensor([2.0, 0, 0, 2, 0, 1, 2, 0, 2, 2, 0, 3])
    assert layer.constants({}, [numbers], kept).tolist() == [2, 0, 1.5]
    some = np.zeros(12, bool)
    some[2] = True
    assert layer.carried([some], kept.numpy()).tolist() == [False, False, True]
    some[4] = True
    with pytest.raises(UnfoldableError, match="reverse=1"):
        layer.carried([some], kept.numpy())


def test_opencv_does_not_read_it() -> None:
    layers = rules(conv(12, 1), section("reorg", stride=2, reverse=1))
    require_darknet(layers)
    with pytest.raises(CfgError, match=r"reverse=1.*--format onnx"):
        require_opencv(layers)
    require_opencv(rules(conv(12, 1), section("reorg", stride=2)))
