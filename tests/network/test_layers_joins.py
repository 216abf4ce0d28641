"""`[route]`, `[shortcut]`, `[dropout]`; and the messages about what does not fit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models import Darknet
from tests.support.nets import conv, image, net, noise, outputs, rules, same_input, section
from utils.cfg import CfgError


def two_sources() -> tuple[list[str], Tensor]:
    """Layers 0 (the input, 4 channels) and 1 (the input reversed and doubled, 6 channels)."""
    weights = torch.zeros(6, 4, 1, 1, dtype=torch.float64)
    for k in range(6):
        weights[k, 3 - k % 4] = 2 + k
    plain = {"batch_normalize": 0, "activation": "linear"}
    return [same_input(), conv(6, 1, **plain)], weights


def joined(text: str, x: Tensor) -> tuple[Tensor, ...]:
    """Layers 0, 1, and those of `text`."""
    sections, kernel = two_sources()
    bias = torch.zeros(6)
    return tuple(outputs([*sections, text], x, l1_conv_weight=kernel, l1_conv_bias=bias))


@pytest.mark.parametrize("layers", ["0,1", "-2,-1", "0,-1", "-2, 1,"])
def test_route_concatenates_in_the_order_of_the_list(layers: str) -> None:
    a, b, found = joined(section("route", layers=layers), noise(2, 4, 3, 5))
    assert torch.equal(found, torch.cat((a, b), 1))
    assert not torch.equal(found, torch.cat((b, a), 1))
    a, b, found = joined(section("route", layers="1,0,1"), noise(2, 4, 3, 5))
    assert torch.equal(found, torch.cat((b, a, b), 1))


def test_a_route_names_some_of_its_sources_as_they_were_written() -> None:
    *_, route = rules(conv(4), conv(4), section("route", layers="-1,0,1"))
    assert route.naming(route.section, (0, 1)).text("layers") == "-1,0"
    with pytest.raises(NotImplementedError, match="convolutional"):
        rules(conv(4))[0].naming(route.section, (0,))


@pytest.mark.parametrize("part", [0, 1])
def test_grouped_route_takes_its_part_of_each_source(part: int) -> None:
    text = section("route", layers="1,0", groups=2, group_id=part)
    a, b, found = joined(text, noise(2, 4, 3, 5))
    assert torch.equal(found, torch.cat((b[:, 3 * part :][:, :3], a[:, 2 * part :][:, :2]), 1))
    assert not torch.equal(found, torch.cat((b, a), 1)[:, 5 * part :][:, :5])


def test_shortcut_adds_what_channels_there_are() -> None:
    a, b, more = joined(section("shortcut", frm=0), noise(2, 4, 3, 5))
    wanted = b.clone()
    wanted[:, :4] += a
    assert torch.equal(more, wanted)
    swapped = section("route", layers=0) + section("shortcut", frm=-2, activation="leaky")
    a, b, _, fewer = joined(swapped, a)
    total = a + b[:, :4]
    assert torch.allclose(fewer, torch.where(total > 0, total, 0.1 * total))
    _, _, several = joined(section("shortcut", frm="0,-2,1"), a)
    assert torch.allclose(several, wanted + F.pad(a, (0, 0) * 2 + (0, 2)) + b)


@pytest.mark.parametrize("normalization", ["relu", "avg_relu", "softmax"])
@pytest.mark.parametrize("kind", ["per_feature", "per_layer", "per_channel"])
def test_weighted_shortcut(kind: str, normalization: str) -> None:
    per_input = 6 if kind == "per_channel" else 1
    weights = noise(3, per_input, seed=3)
    text = section("shortcut", frm="0,1", weights_type=kind, weights_normalization=normalization)
    sections, kernel = two_sources()
    a, b, found = outputs(
        [*sections, text], noise(2, 4, 3, 5),
        l1_conv_weight=kernel, l1_conv_bias=torch.zeros(6), l2_weights=weights,
    )  # fmt: skip
    w = weights.numpy()
    positive = np.exp(w - w.max(0)) if normalization == "softmax" else np.maximum(w, 0)
    share = positive / (1e-4 + positive.sum(0))
    inputs = [b.numpy(), np.pad(a.numpy(), ((0, 0), (0, 2), (0, 0), (0, 0))), b.numpy()]
    wanted = sum(s[None, :, None, None] * x for s, x in zip(share, inputs, strict=True))
    assert np.allclose(found, wanted)
    unweighted = sum(inputs)
    assert not np.allclose(found, unweighted)
    fresh = Darknet(net(*sections, text, channels=4)).state_dict()["layers.2.weights"]
    assert torch.equal(fresh, torch.ones(3, per_input))


BAD_JOINS = [
    (section("maxpool", stride=2) + section("route", layers="0,-1"), "differ in size"),
    (section("maxpool", stride=2) + section("shortcut", frm=0), "differ in size"),
    (section("route", layers=0, groups=2), "do not divide"),
    (section("route", layers=0, groups=3, group_id=3), r"group_id: must lie in 0\.\.2"),
    (section("shortcut", frm=""), "names no layer"),
    (section("shortcut", frm=0, weights_type="per_feature"), "weights_normalization"),
    (section("shortcut", frm=0, weights_type="x"), "weights_type"),
    (conv(4, groups=2), "groups: 3 input channels do not divide into 2"),
    (conv(4, groups=3), "groups: 4 filters do not divide into 3"),
    (conv(0), "filters: must be at least 1"),
    (conv(4, stride=0), "stride: must be at least 1"),
    (conv(4, dilation=2, pad=0), "dilation: needs an odd size and pad=1"),
    (conv(4, 4, dilation=2), "dilation: needs an odd size and pad=1"),
    (conv(4, xnor=1), "xnor: binary weights"),
    (conv(4, antialiasing=3), "antialiasing"),
    (conv(4, 17, pad=0), "its output would be"),
    (section("maxpool", size=0), "at least 1"),
    (section("maxpool", size=20, padding=0), "its output would be"),
    (section("upsample", stride=0), "stride: must not be 0"),
    (conv(4, 1, stride_y=2), "stride_y: with stride_x=1 and size=1 Darknet computes garbage"),
    (conv(3, antialiasing=2, stride=2) + section("route", layers=-1), "names layer 1, whose size"),
    (
        section("maxpool", stride=2, antialiasing=2)
        + section("dropout")
        + section("shortcut", frm=-2),
        "names layer 1, whose size",
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD_JOINS)
def test_what_does_not_fit_is_named(text: str, message: str) -> None:
    with pytest.raises(CfgError, match=message) as error:
        rules(same_input(), text)
    assert str(error.value).startswith("net.cfg:")


def test_dropout_drops_in_training_only() -> None:
    model = Darknet(net(section("dropout", probability=0.5)))
    x = image(model) + 1
    (inference,), (training,) = model.eval().layer_outputs(x), model.train().layer_outputs(x)
    assert torch.equal(inference, x)
    share = float((training == 0).float().mean())
    assert math.isclose(share, 0.5, abs_tol=0.05)
