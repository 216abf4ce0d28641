"""The fast form: gradients by gates against differences, and its ranks against real cuts."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from models import Darknet
from tests.support.nets import conv, head, healthy, image, net, section
from utils.chains.sensitivity.effects import channel_effects, predicted_change
from utils.chains.sensitivity.measure import STEADY
from utils.network.graph import ChannelGraph, channel_graph
from utils.training.losses.loss import DetectionLoss, total
from utils.training.losses.options import LossOptions

NET = net(
    conv(6, stride=2), conv(4, 1, activation="mish"), conv(6, activation="linear"),
    section("shortcut", frm=-3, activation="leaky"), conv(8, stride=4, batch_normalize=None),
    head(),
)  # fmt: skip
TARGETS = torch.tensor([
    [0, 0, 0.3, 0.4, 0.3, 0.3], [0, 1, 0.7, 0.6, 0.2, 0.4], [1, 1, 0.5, 0.5, 0.4, 0.3],
])  # fmt: skip
HW = (32, 32)


def loss_of(model: Darknet, x: Tensor, options: LossOptions = STEADY) -> float:
    with torch.no_grad():
        value = total(DetectionLoss(model.heads, options)(model.raw_heads(x), TARGETS, HW))
    return float(value)


def effects(model: Darknet, x: Tensor, options: LossOptions = STEADY) -> np.ndarray:
    graph = channel_graph(model.rules)
    loss = DetectionLoss(model.heads, options)
    return channel_effects(graph, model, [x], [TARGETS], loss)


def slope(model: Darknet, layer: int, x: Tensor, options: LossOptions) -> float:
    """dL/dm of a whole layer by a central difference; a gate is a factor of gamma."""
    found = []
    step = 0.01
    for factor in (1 + step, 1 - step):
        twin = copy.deepcopy(model)
        with torch.no_grad():
            twin.layers[layer].bn.weight *= factor
        found.append(loss_of(twin, x, options))
    return (found[0] - found[1]) / (2 * step)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_gates_have_the_slope_of_the_loss(layer: int) -> None:
    model = healthy(NET)
    x = image(model)
    own = effects(model, x)[:, channel_graph(model.rules).issued[layer]]
    # Layers 0 and 2 share their channels; the gates of both count there, so compare the sum.
    layers = [0, 2] if layer in (0, 2) else [layer]
    wanted = sum(slope(model, index, x, STEADY) for index in layers)
    assert own.sum() == pytest.approx(wanted, rel=0.02, abs=2e-3)


def test_the_training_s_own_loss_has_another_slope_than_its_gradient() -> None:
    """Why the objectness aims at 1: towards the IoU of the moment, the aim moves as well."""
    model = healthy(NET, seed=1)
    x = image(model)
    classes = channel_graph(model.rules).issued[1]

    def error(options: LossOptions) -> float:
        own = float(effects(model, x, options)[:, classes].sum())
        return abs(own - slope(model, 1, x, options))

    assert error(LossOptions()) > 10 * error(STEADY)


def test_without_batch_normalisation_the_kernel_is_gated_and_the_bias_stays() -> None:
    model = healthy(NET)
    x = image(model)
    own = effects(model, x)[:, channel_graph(model.rules).issued[4]].sum(0)
    for channel in range(3):
        found = []
        for factor in (1.02, 0.98):
            twin = copy.deepcopy(model)
            with torch.no_grad():
                twin.layers[4].conv.weight[channel] *= factor
            found.append(loss_of(twin, x))
        assert own[channel] == pytest.approx((found[0] - found[1]) / 0.04, rel=0.05, abs=1e-3)


def test_batches_do_not_matter_and_the_network_is_left_as_it_was() -> None:
    model = healthy(NET)
    x = image(model)
    before = copy.deepcopy(model.state_dict())
    whole = channel_graph(model.rules)
    # A batch's loss is divided by its positives: so that it makes no difference here, as many each.
    rows = TARGETS[[0, 2]]
    loss = DetectionLoss(model.heads, STEADY)
    together = channel_effects(whole, model, [x], [rows], loss)
    second = rows[1:].clone()
    second[:, 0] = 0
    apart = channel_effects(whole, model, [x[:1], x[1:]], [rows[:1], second], loss)
    assert together.shape == (2, whole.count)
    np.testing.assert_allclose(apart, together, atol=1e-5)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not model.layers[0].bn._forward_hooks


DEPTHWISE = net(conv(6, stride=2), conv(6, groups=6, activation="mish"), conv(4, stride=4), head())


def test_a_depthwise_layer_is_gated_in_place_of_what_it_reads() -> None:
    """Both of its group's layers count as masked; the later one alone decides what is handed on."""
    model = healthy(DEPTHWISE)
    x = image(model)
    graph = channel_graph(model.rules)
    assert set(graph.issued[0]) == set(graph.issued[1])
    own = effects(model, x)[:, graph.issued[1]].sum()
    assert own == pytest.approx(slope(model, 1, x, STEADY), rel=0.02, abs=2e-3)
    # Negative control: another number than by the first layer's gate.
    assert abs(slope(model, 0, x, STEADY) - own) > 0.1 * abs(own)
    # A layer that others read as well has a gate of its own.
    joined = net(
        conv(6, stride=2), conv(6, groups=6), section("route", layers="0,1"), conv(4, stride=4),
        head(),
    )  # fmt: skip
    other = healthy(joined)
    x = image(other)
    own = effects(other, x)[:, channel_graph(other.rules).issued[1]].sum()
    wanted = slope(other, 0, x, STEADY) + slope(other, 1, x, STEADY)
    assert own == pytest.approx(wanted, rel=0.02, abs=2e-3)


def test_the_prediction_by_hand() -> None:
    """Two images, three channels, of which the first two go: their gradients are added first."""
    found = np.array([[1.0, 2.0, 5.0], [-0.5, 0.5, 7.0]])
    # Each image's sums are 3 and 0: 1/2 * 2 * (9 + 0).
    assert predicted_change(found, np.array([0, 1])) == pytest.approx(9.0)
    # One by one 1.25 and 4.25: not additive.
    apart = sum(predicted_change(found, np.array([k])) for k in (0, 1))
    assert apart == pytest.approx(5.5)
    assert predicted_change(found, np.array([], int)) == 0
    # The mean over more images of the same kind is the same: each adds half as much to dL/dm.
    assert predicted_change(np.vstack([found, found]) / 2, np.array([0, 1])) == pytest.approx(9.0)


def test_small_gates_are_foretold_in_size() -> None:
    """For channels that hardly matter the first order says all: gamma times .02 goes."""
    model = healthy(NET)
    x = image(model)
    graph: ChannelGraph = channel_graph(model.rules)
    with torch.no_grad():
        model.layers[1].bn.weight *= 0.01
    own = effects(model, x)[:, graph.issued[1]].sum()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.layers[1].bn.weight.zero_()
    change = loss_of(twin, x) - loss_of(model, x)
    assert math.copysign(1, change) == math.copysign(1, -own)
    assert change == pytest.approx(-own, rel=0.3, abs=1e-4)
