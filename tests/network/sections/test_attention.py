"""`[attention]`: the formula, cell by cell; shapes; what it says of channels, cost and reach."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.nets import conv, net, noise, outputs, rules, same_input, section
from utils.cfg import CfgError, drop_layers
from utils.network.graph import channel_graph
from utils.network.importers import require_darknet, require_opencv
from utils.network.layers import UnfoldableError, build_layers
from utils.network.layers.attention import Attention
from utils.network.receptive_field import receptive_field_px

PLAIN = {"batch_normalize": 0, "activation": "linear"}


def attention(**options: object) -> str:
    usual = {"frm": "-3,-2,-1", "heads": 2, "scale": 0.5}
    return section("attention", **{**usual, **options})


def by_hand(q: Tensor, k: Tensor, v: Tensor, heads: int, area: int, scale: float) -> Tensor:
    """One cell of one head of one image at a time."""
    out = torch.zeros_like(v)
    count = q.shape[2] * q.shape[3] // area
    for b in range(len(q)):
        for h in range(heads):
            mine, of_values = (x.shape[1] // heads for x in (q, v))
            flat_q, flat_k = (x[b, h * mine : (h + 1) * mine].flatten(1) for x in (q, k))
            rows = slice(h * of_values, (h + 1) * of_values)
            flat_v, target = v[b, rows].flatten(1), out[b, rows].flatten(1)
            for m in range(target.shape[1]):
                band = range(m // count * count, (m // count + 1) * count)
                e = [math.exp(scale * float(flat_q[:, m] @ flat_k[:, n])) for n in band]
                mixed = sum(w * flat_v[:, n] for w, n in zip(e, band, strict=True))
                target[:, m] = mixed / sum(e)
            out[b, rows] = target.view(of_values, *q.shape[2:])
    return out


@pytest.mark.parametrize(("heads", "area"), [(1, 1), (2, 1), (1, 2), (2, 4)])
def test_the_formula(heads: int, area: int) -> None:
    x = noise(2, 4, 4, 6)
    kernels = {f"l{k}_conv_weight": noise(c, 4, 1, 1, seed=k) for k, c in ((1, 4), (3, 4), (5, 6))}
    biases = {f"l{k}_conv_bias": noise(c, seed=k + 7) for k, c in ((1, 4), (3, 4), (5, 6))}
    back = section("route", layers=0)
    sections = [same_input(), conv(4, 1, **PLAIN), back, conv(4, 1, **PLAIN), back]
    sections += [conv(6, 1, **PLAIN), attention(frm="1,3,5", heads=heads, area=area)]
    values = outputs(sections, x, **kernels, **biases)
    q, k, v, found = values[1], values[3], values[5], values[6]
    wanted = by_hand(q, k, v, heads, area, 0.5)
    assert (found - wanted).abs().max() < 1e-12
    other = by_hand(q, k, v, heads, 3 if area == 1 else 1, 0.5)
    assert (found - other).abs().max() > 1e-3


def test_shape_cost_reach_and_words() -> None:
    layers = rules(conv(4, 1), conv(4, 1), conv(6, 1), attention(area=4), conv(3))
    found = layers[3]
    assert isinstance(found, Attention)
    assert found.shape == (6, 12, 16)
    assert found.macs() == 192 * 48 * (4 + 6)
    assert found.traits() == "2 heads, 4 areas"
    assert receptive_field_px(layers, 2) == (1, 1)
    assert receptive_field_px(layers, 4) == (math.inf, math.inf)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frm": "-2,-1"}, "three layers"),
        ({"frm": "-3,-1,-2"}, "4 channels of queries meet 6"),
        ({"heads": 4}, "6 channels of values do not divide"),
        ({"heads": 0}, "at least 1"),
        ({"area": 5}, "16x12 cells do not divide"),
        ({"scale": None}, "does not follow from the channels"),
        ({"scale": "nan"}, "expected a number"),
    ],
)
def test_what_does_not_fit(options: dict[str, object], message: str) -> None:
    with pytest.raises(CfgError, match=message):
        rules(conv(4, 1), conv(4, 1), conv(6, 1), attention(**options))


def test_who_refuses_it() -> None:
    layers = rules(conv(4, 1), conv(4, 1), conv(6, 1), attention())
    for require in (require_darknet, require_opencv):
        with pytest.raises(CfgError, match=r"net.cfg:\d+: \[attention\].*--format onnx"):
            require(layers)
    require_opencv(layers[:3])


def test_channels_pairs_parts_and_values() -> None:
    graph = channel_graph(rules(conv(4, 1), conv(4, 1), conv(6, 1), attention(), conv(3)))
    assert np.array_equal(graph.outputs[0], graph.outputs[1])
    assert np.array_equal(graph.outputs[3], graph.outputs[2])
    assert not set(graph.outputs[2]) & set(graph.outputs[0])
    parts = {tuple(map(tuple, found)) for found in graph.equal_parts}
    q, v = graph.outputs[0], graph.outputs[2]
    assert parts == {(tuple(q[:2]), tuple(q[2:])), (tuple(v[:3]), tuple(v[3:]))}


def test_constants_on_queries_keys_and_values() -> None:
    layer = rules(conv(4, 1), conv(4, 1), conv(6, 1), attention())[3]
    numbers = [torch.arange(float(n)) for n in (4, 4, 6)]
    assert torch.equal(layer.constants({}, numbers, torch.ones(6) > 0), numbers[2])
    carried = [np.ones(n, bool) for n in (4, 4, 6)]
    kept = [np.zeros(4, bool), np.ones(4, bool), np.ones(6, bool)]
    layer.require_carried(carried, kept)
    with pytest.raises(UnfoldableError, match="meets the keys"):
        layer.require_carried(carried, [np.ones(4, bool), *kept[1:]])


def test_its_references_move_with_the_layers() -> None:
    cfg = net(conv(4, 1), conv(4, 1), conv(4, 1), conv(4, 1), attention(frm="-4,1,-1"), conv(3))
    small, _ = drop_layers(cfg, {2: 1})
    assert small.layers[3].text("from") == "-3,1,-1"
    assert len(build_layers(small)) == 5
