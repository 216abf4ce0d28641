"""The rarer sections: products, normalisation, fully connected, rearranged pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models import Darknet
from tests.support.nets import conv, image, net, noise, outputs, rules, same_input, section
from utils.cfg import CfgError
from utils.command.errors import UserError

Array = NDArray[np.float64]

PLAIN = {"batch_normalize": 0, "activation": "linear"}


def test_batchnorm() -> None:
    x = noise(2, 3, 4, 5)
    gamma, beta, mean, variance = (
        noise(3),
        noise(3, seed=1),
        noise(3, seed=2),
        noise(3, seed=3).exp(),
    )
    (found,) = outputs(
        [section("batchnorm")], x, l0_bn_weight=gamma, l0_bn_bias=beta,
        l0_bn_running_mean=mean, l0_bn_running_var=variance,
    )  # fmt: skip
    over = (x - mean.view(-1, 1, 1)) / (variance.view(-1, 1, 1) + 1e-5).sqrt()
    assert torch.allclose(found, over * gamma.view(-1, 1, 1) + beta.view(-1, 1, 1))
    assert not torch.allclose(found, over)


def test_sam_multiplies_value_by_value() -> None:
    sections = [same_input(), conv(3, 1, **PLAIN), section("sam", frm=0, activation="logistic")]
    kernel = torch.eye(3).flip(0)
    a, b, found = outputs(
        sections, noise(2, 3, 4, 5), l1_conv_weight=kernel, l1_conv_bias=torch.zeros(3)
    )
    assert torch.allclose(found, (a * b).sigmoid())
    assert not torch.allclose(found, (a * a).sigmoid())
    with pytest.raises(CfgError, match=r"\[sam\].*shapes differ"):
        rules(same_input(), conv(4), section("sam", frm=0))


def test_scale_channels() -> None:
    squeeze = [same_input(), section("avgpool"), section("scale_channels", frm=0)]
    a, mean, found = outputs(squeeze, noise(2, 3, 4, 5))
    assert mean.shape == (2, 3, 1, 1)
    assert torch.allclose(found, a * mean)
    assert not torch.allclose(found, a)
    one = conv(1, 1, **PLAIN)
    by_cell = [same_input(), one, section("scale_channels", frm=0, scale_wh=1, activation="relu")]
    a, factor, found = outputs(by_cell, a, l1_conv_bias=torch.zeros(1))
    assert factor.shape == (2, 1, 4, 5)
    assert torch.allclose(found, (a * factor).relu())
    for last in (section("scale_channels", frm=0), section("scale_channels", frm=0, scale_wh=1)):
        with pytest.raises(CfgError, match="needs factors of shape"):
            rules(same_input(), conv(3), last)


def test_implicit_is_a_constant() -> None:
    sections = [same_input(), section("implicit", filters=3), section("scale_channels", frm=0)]
    factors = noise(3)
    a, _, found = outputs(sections, noise(2, 3, 4, 5), l1_weights=factors)
    assert torch.allclose(found, a * factors.view(1, 3, 1, 1))
    assert [field.shape for field in rules(*sections)[1].fields()] == [(3, 1, 1)]


def test_connected_reads_channels_then_rows() -> None:
    x, w, b = noise(2, 3, 4, 5), noise(6, 60), noise(6, seed=1)
    (found,) = outputs(
        [section("connected", output=6, activation="relu")], x, l0_fc_weight=w, l0_fc_bias=b
    )
    wanted = np.maximum(np.einsum("ochw,bchw->bo", w.view(6, 3, 4, 5), x) + b.numpy(), 0)
    other = np.maximum(np.einsum("ohwc,bchw->bo", w.view(6, 4, 5, 3), x) + b.numpy(), 0)
    assert found.shape == (2, 6, 1, 1)
    assert np.allclose(found[:, :, 0, 0], wanted)
    assert not np.allclose(found[:, :, 0, 0], other)
    (layer,) = rules(section("connected", output=6), hw=(4, 5))
    assert layer.macs() == 6 * 60
    normalized = [section("connected", output=6, batch_normalize=1, activation="linear")]
    gamma, mean = noise(6, seed=2), noise(6, seed=3)
    (found,) = outputs(
        normalized, x, l0_fc_weight=w, l0_bn_weight=gamma, l0_bn_bias=b, l0_bn_running_mean=mean
    )
    raw = torch.einsum("ochw,bchw->bo", w.view(6, 3, 4, 5), x)
    assert torch.allclose(found[:, :, 0, 0], (raw - mean) * gamma / (1 + 1e-5) ** 0.5 + b)


@pytest.mark.parametrize(("groups", "temperature"), [(1, 1.0), (3, 1.0), (2, 2.5)])
def test_softmax_over_slices_of_the_flat_vector(groups: int, temperature: float) -> None:
    x = noise(2, 3, 2, 4)
    (found,) = outputs([section("softmax", groups=groups, temperature=temperature)], x)
    share = np.exp(x.numpy().reshape(2, groups, -1) / temperature)
    wanted = share / share.sum(2, keepdims=True)
    assert np.allclose(found, wanted.reshape(x.shape))
    assert not np.allclose(found, x.softmax(1))


@pytest.mark.parametrize("noadjust", [0, 1])
def test_crop(noadjust: int) -> None:
    x = noise(1, 3, 7, 8)
    (found,) = outputs([section("crop", crop_height=4, crop_width=5, noadjust=noadjust)], x)
    middle = x[:, :, 1:5, 1:6]
    assert torch.equal(found, middle if noadjust else middle * 2 - 1)
    with pytest.raises(CfgError, match="cuts 9x4 out of 8x7"):
        rules(section("crop", crop_height=4, crop_width=9), hw=(7, 8))


def test_what_passes_its_input_on() -> None:
    x = noise(2, 3, 4, 4)
    kinds = [section(kind) for kind in ("empty", "silence", "dropout")]
    assert all(torch.equal(value, x) for value in outputs(kinds, x))


def test_losses_are_silent_at_inference() -> None:
    x = noise(2, 3, 4, 4)
    for kind in ("cost", "contrastive"):
        assert torch.equal(outputs([section(kind)], x)[0], torch.zeros_like(x))
    classifier = Darknet(net(section("softmax"), section("cost"), width=4, height=4)).eval()
    assert torch.allclose(classifier(x).sum((1, 2, 3)), torch.ones(2, dtype=x.dtype))
    model = Darknet(net(conv(4), section("contrastive"))).train()
    with pytest.raises(UserError, match=r"net\.cfg:\d+: \[contrastive\] cannot be trained"):
        model(image(model))


# -- reorg -----------------------------------------------------------------------------------------


def slow_reorg3d(x: Array, s: int) -> Array:
    c, h, w = x.shape
    out = np.zeros((c * s * s, h // s, w // s))
    for k, i, j in np.ndindex(c, h, w):
        out[(i % s * s + j % s) * c + k, i // s, j // s] = x[k, i, j]
    return out


def unslow_reorg3d(x: Array, s: int) -> Array:
    """The inverse permutation: what `slow_reorg3d` makes into x."""
    c, h, w = x.shape
    places = slow_reorg3d(np.arange(x.size).reshape(c // s**2, h * s, w * s).astype(float), s)
    out = np.zeros(x.size)
    out[places.astype(int).ravel()] = x.ravel()
    return out.reshape(c // s**2, h * s, w * s)


def slow_reorg(x: Array, s: int) -> Array:
    c, h, w = x.shape
    return slow_reorg3d(x.reshape(c // s**2, h * s, w * s), s).reshape(c * s**2, h // s, w // s)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("kind", "slow"), [("reorg3d", slow_reorg3d), ("reorg", slow_reorg)])
def test_reorg(kind: str, slow: object, stride: int) -> None:
    assert callable(slow)
    x = noise(2, stride**2 * 2, 2 * stride, 4 * stride)
    (found,) = outputs([section(kind, stride=stride)], x)
    for k in range(2):
        assert np.array_equal(found[k], slow(x[k].numpy(), stride))
    usual = torch.nn.functional.pixel_unshuffle(x, stride)
    assert found.shape == usual.shape
    assert torch.equal(found, usual) == (stride == 1)


def test_reversed_reorg_as_darknet_reads_its_memory() -> None:
    x = noise(1, 16, 2, 4)
    (plain,) = outputs([section("reorg", stride=2, reverse=1)], x)
    assert np.array_equal(plain[0], unslow_reorg3d(x[0].numpy(), 2))
    (three,) = outputs([section("reorg3d", stride=2, reverse=1)], x)
    seen_as = x[0].numpy().reshape(4, 4, 8)
    assert np.array_equal(three[0], unslow_reorg3d(seen_as, 2).reshape(4, 4, 8))
    assert not torch.equal(plain, three)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (section("reorg", stride=0), "stride: must be at least 1"),
        (section("reorg", stride=2), "3 channels do not divide by 4"),
        (section("reorg3d", stride=5), "16x12 does not divide by 5"),
        (section("reorg3d", stride=2, reverse=1), "3 channels do not divide by 16"),
    ],
)
def test_reorg_that_does_not_fit(text: str, message: str) -> None:
    with pytest.raises(CfgError, match=message):
        rules(text)
