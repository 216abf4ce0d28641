"""Activation functions against Darknet's formulas, written in numpy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.support.nets import conv, noise, outputs, rules, section
from utils.cfg import CfgError
from utils.network.layers.activations import ACROSS_CHANNELS, ELEMENTWISE, IN_PLACE

Array = NDArray[np.float64]


def logistic(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softplus(x: float) -> float:
    if x > 20:
        return x
    return math.exp(x) if x < -20 else math.log(1 + math.exp(x))


def stair(x: float) -> float:
    n = math.floor(x)
    return math.floor(x / 2) if n % 2 == 0 else (x - n) + math.floor(x / 2)


def plse(x: float) -> float:
    if x < -4:
        return 0.01 * (x + 4)
    return 1 + 0.01 * (x - 4) if x > 4 else 0.125 * x + 0.5


def lhtan(x: float) -> float:
    if x < 0:
        return 0.001 * x
    return 1 + 0.001 * (x - 1) if x > 1 else x


def hard_mish(x: float) -> float:
    if x > 0:
        return x
    return x * x / 2 + x if x > -2 else 0.0


def leaky(slope: float) -> Callable[[Array], Array]:
    return lambda x: np.where(x > 0, x, slope * x)


FORMULAS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "leaky": leaky(0.1),
    "revleaky": leaky(0.1),
    "logistic": logistic,
    "loggy": lambda x: 2 * logistic(x) - 1,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.minimum(np.maximum(x, 0), 6),
    "elu": lambda x: np.where(x >= 0, x, np.exp(np.minimum(x, 0)) - 1),
    "selu": lambda x: np.where(
        x >= 0, 1.0507 * x, 1.0507 * 1.6732 * (np.exp(np.minimum(x, 0)) - 1)
    ),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(0.797885 * x + 0.035677 * x**3)),
    "relie": leaky(0.01),
    "ramp": lambda x: np.maximum(x, 0) + 0.1 * x,
    "tanh": lambda x: 2 / (1 + np.exp(-2 * x)) - 1,
    "plse": np.vectorize(plse, otypes=[float]),
    "hardtan": lambda x: np.clip(x, -1, 1),
    "lhtan": np.vectorize(lhtan, otypes=[float]),
    "stair": np.vectorize(stair, otypes=[float]),
    "swish": lambda x: x * logistic(x),
    "mish": lambda x: x * np.tanh(np.vectorize(softplus, otypes=[float])(x)),
    "hard_mish": np.vectorize(hard_mish, otypes=[float]),
}

# Both sides of every kink, and the kinks; up to where mish and softplus change their form.
POINTS = np.concatenate([np.linspace(-30, 30, 481), [-1e-3, 1e-3, -2.001, -1.999, 4.001, 6.5]])


def test_every_activation_of_the_dialect_is_there() -> None:
    assert set(ELEMENTWISE) == set(FORMULAS)


@pytest.mark.parametrize("name", FORMULAS)
def test_formula(name: str) -> None:
    wanted = FORMULAS[name](POINTS)
    x = torch.tensor(POINTS)
    assert np.allclose(ELEMENTWISE[name](x), wanted, rtol=1e-12, atol=1e-12)
    assert np.array_equal(x, POINTS), "the argument was overwritten"
    alike = {k for k in FORMULAS if np.abs(FORMULAS[k](POINTS) - wanted).max() < 1e-3}
    assert alike - {"leaky", "revleaky"} <= {name}, "the points do not tell the formulas apart"
    if name in IN_PLACE:
        assert np.allclose(IN_PLACE[name](x), wanted, rtol=1e-12, atol=1e-12)


def test_constants_are_darknets_and_not_the_papers() -> None:
    x = torch.linspace(-5, 5, 101, dtype=torch.float64)
    for name, usual in (("selu", torch.selu), ("gelu", torch.nn.functional.gelu)):
        assert float((ELEMENTWISE[name](x) - usual(x)).abs().max()) > 1e-5


ACROSS: dict[str, Callable[[Array], Array]] = {
    "normalize_channels": lambda x: np.maximum(x, 0),
    "normalize_channels_softmax": np.exp,
    "normalize_channels_softmax_maxval": lambda x: np.exp(x - x.max(1, keepdims=True)),
}


@pytest.mark.parametrize("name", ACROSS)
def test_across_channels(name: str) -> None:
    x = noise(2, 5, 3, 4)
    share = ACROSS[name](x.numpy() + 3)
    wanted = share / (1e-4 + share.sum(1, keepdims=True))
    assert set(ACROSS_CHANNELS) == set(ACROSS)
    assert np.allclose(ACROSS_CHANNELS[name](x + 3), wanted, rtol=1e-12)
    assert not np.allclose(share / share.sum(1, keepdims=True), wanted, rtol=1e-7)


@pytest.mark.parametrize("name", [*FORMULAS, *ACROSS])
def test_a_convolution_applies_it(name: str) -> None:
    kernel = torch.eye(4)
    (found,) = outputs(
        [conv(4, 1, batch_normalize=0, activation=name)], x := noise(1, 4, 3, 3),
        l0_conv_weight=kernel, l0_conv_bias=torch.zeros(4),
    )  # fmt: skip
    assert torch.allclose(found, {**ELEMENTWISE, **ACROSS_CHANNELS}[name](x))


@pytest.mark.parametrize("name", FORMULAS)
def test_a_shortcut_and_a_section_of_its_own_apply_it(name: str) -> None:
    x = noise(1, 4, 3, 3)
    alone = section("activation", activation=name)
    single, summed = outputs([alone, section("shortcut", frm=-1, activation=name)], x)
    assert torch.allclose(single, ELEMENTWISE[name](x))
    assert torch.allclose(summed, ELEMENTWISE[name](2 * single))


@pytest.mark.parametrize("name", ["Leaky", "silu", "leakyrelu", "relu7", "normalize"])
def test_an_unknown_name_is_an_error_and_no_relu(name: str) -> None:
    with pytest.raises(CfgError, match=rf"activation: unknown activation '{name}'; known: linear"):
        rules(conv(4, activation=name))


@pytest.mark.parametrize("name", ACROSS)
def test_what_mixes_channels_is_for_convolutions_only(name: str) -> None:
    with pytest.raises(CfgError, match="unknown activation"):
        rules(conv(4), section("shortcut", frm=-1, activation=name))
