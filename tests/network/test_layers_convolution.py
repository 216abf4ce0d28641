"""`[convolutional]` against loops over output cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.support.nets import conv, noise, outputs, rules, section

Array = NDArray[np.float64]


def slow_conv(
    x: Array, w: Array, stride: tuple[int, int], pad: int, dilation: int, groups: int
) -> Array:
    """Darknet's im2col and GEMM, written as loops over output cells."""
    filters, per_group, size, _ = w.shape
    padded = np.pad(x, ((0, 0), (pad * dilation,) * 2, (pad * dilation,) * 2))
    rows = (x.shape[1] + 2 * pad - size) // stride[0] + 1
    columns = (x.shape[2] + 2 * pad - size) // stride[1] + 1
    out = np.zeros((filters, rows, columns))
    for f, i, j in np.ndindex(filters, rows, columns):
        first = f // (filters // groups) * per_group
        top, left = i * stride[0], j * stride[1]
        reach = (size - 1) * dilation + 1
        window = padded[first : first + per_group, top : top + reach : dilation]
        out[f, i, j] = (window[:, :, left : left + reach : dilation] * w[f]).sum()
    return out


CONVOLUTIONS = [
    # size, options, (stride y, x), padding, dilation, groups
    (3, {}, (1, 1), 1, 1, 1),
    (3, {"pad": 0}, (1, 1), 0, 1, 1),
    (3, {"pad": 0, "padding": 2}, (1, 1), 2, 1, 1),
    (3, {"pad": 2, "padding": 7}, (1, 1), 1, 1, 1),
    (3, {"stride": 2}, (2, 2), 1, 1, 1),
    (3, {"stride": 2, "stride_x": 1}, (2, 1), 1, 1, 1),
    (5, {"stride_y": 3, "stride_x": 2}, (3, 2), 2, 1, 1),
    (1, {"stride": 2}, (2, 2), 0, 1, 1),
    (2, {}, (1, 1), 1, 1, 1),
    (4, {"stride": 2}, (2, 2), 2, 1, 1),
    (3, {"groups": 2}, (1, 1), 1, 1, 2),
    (3, {"groups": 4, "filters": 8}, (1, 1), 1, 1, 4),
    (3, {"dilation": 2}, (1, 1), 1, 2, 1),
    (1, {"dilation": 4}, (1, 1), 0, 1, 1),
]


@pytest.mark.parametrize(("size", "options", "stride", "pad", "dilation", "groups"), CONVOLUTIONS)
def test_convolution(
    size: int,
    options: dict[str, int],
    stride: tuple[int, int],
    pad: int,
    dilation: int,
    groups: int,
) -> None:
    text = conv(6, size, **{"batch_normalize": 0, "activation": "linear", **options})
    (layer,) = rules(text, hw=(7, 9), channels=4)
    filters = options.get("filters", 6)
    x, w, b = noise(2, 4, 7, 9), noise(filters, 4 // groups, size, size, seed=1), noise(filters)
    (found,) = outputs([text], x, l0_conv_weight=w, l0_conv_bias=b)
    bias = b.numpy()[:, None, None]
    for k in range(2):
        wanted = slow_conv(x[k].numpy(), w.numpy(), stride, pad, dilation, groups) + bias
        assert wanted.shape == layer.shape == found.shape[1:]
        assert np.allclose(found[k], wanted, atol=1e-12)
    rows, columns = layer.shape[1:]
    assert layer.macs() == rows * columns * filters * (4 // groups) * size * size


def test_convolution_is_no_flipped_one() -> None:
    text = conv(1, batch_normalize=0, activation="linear")
    w = noise(1, 3, 3, 3)
    x, bias = noise(1, 3, 7, 9), torch.zeros(1)
    right, wrong = (
        outputs([text], x, l0_conv_weight=kernel, l0_conv_bias=bias)[0]
        for kernel in (w, w.flip(2, 3))
    )
    assert not torch.allclose(right, wrong, atol=1e-3)


def test_batch_normalisation_has_its_epsilon_inside_the_root() -> None:
    text = conv(2, 1, activation="linear")
    gamma, beta, mean, variance = (torch.tensor(v, dtype=torch.float64) for v in
        ([2.0, -3.0], [0.5, 1.0], [0.1, 0.2], [1e-6, 0.3]))  # fmt: skip
    x, w = noise(1, 3, 4, 4), noise(2, 3, 1, 1)
    (found,) = outputs(
        [text], x, l0_conv_weight=w, l0_bn_weight=gamma, l0_bn_bias=beta,
        l0_bn_running_mean=mean, l0_bn_running_var=variance,
    )  # fmt: skip
    raw = torch.einsum("fc,bchw->bfhw", w[:, :, 0, 0], x)

    def normalized(eps: float) -> Tensor:
        scale = gamma / (variance + eps).sqrt()
        return (raw - mean.view(-1, 1, 1)) * scale.view(-1, 1, 1) + beta.view(-1, 1, 1)

    assert torch.allclose(found, normalized(1e-5), rtol=1e-6)
    assert not torch.allclose(found, normalized(1e-6), rtol=1e-2)


def test_defaults_of_a_convolution() -> None:
    (found,) = outputs(
        [section("convolutional")], x := noise(1, 3, 4, 4),
        l0_conv_weight=torch.tensor([1.0, 0, 0]), l0_conv_bias=torch.zeros(1),
    )  # fmt: skip
    assert torch.allclose(found, x[:, :1].sigmoid())


def test_a_shared_kernel_brings_its_numbers_only() -> None:
    shared = conv(3, share_index=0, stride=2, activation="relu")
    both = [conv(3, activation="linear"), shared]
    w, gamma = noise(3, 3, 3, 3), noise(3)
    first, second = outputs(both, noise(1, 3, 8, 8), l0_conv_weight=w, l0_bn_weight=gamma)
    alone = [conv(3, activation="relu", stride=2)]
    (wanted,) = outputs(alone, first, l0_conv_weight=w, l0_bn_weight=gamma)
    (other,) = outputs(alone, first, l0_conv_weight=w.roll(1, 0), l0_bn_weight=gamma)
    assert torch.allclose(second, wanted)
    assert not torch.allclose(second, other)
    assert [len(layer.fields()) for layer in rules(*both)] == [5, 0]


BLURS = {1: np.outer([1, 2, 1], [1, 2, 1]) / 16, 2: np.ones((2, 2)) / 4}


def slow_blur(x: Array, kind: int, stride: int) -> Array:
    kernel, pad = BLURS[kind], 2 - kind
    return np.concatenate(
        [slow_conv(plane[None], kernel[None, None], (stride,) * 2, pad, 1, 1) for plane in x]
    )


@pytest.mark.parametrize("kind", [1, 2])
@pytest.mark.parametrize("hw", [(8, 10), (7, 9)])
def test_antialiasing_blurs_what_has_stride_one(kind: int, hw: tuple[int, int]) -> None:
    x, w, bias = noise(1, 3, *hw), noise(4, 3, 3, 3), torch.ones(4)
    usual = {"batch_normalize": 0}
    sharp, text = conv(4, **usual), conv(4, stride=2, antialiasing=kind, **usual)
    (plain,) = outputs([sharp], x, l0_conv_weight=w, l0_conv_bias=bias)
    (blurred,) = outputs([text], x, l0_conv_weight=w, l0_conv_bias=bias)
    wanted, other = (slow_blur(plain[0].numpy(), k, 2) for k in (kind, 3 - kind))
    assert np.allclose(blurred[0], wanted)
    assert other.shape != wanted.shape or not np.allclose(other, wanted)
    (layer,) = rules(text, hw=hw)
    assert layer.shape == wanted.shape
    assert layer.macs() == hw[0] * hw[1] * 4 * 27


def test_what_follows_a_blurred_layer_reads_it() -> None:
    first = [
        conv(4, stride=2, antialiasing=2),
        section("maxpool", size=3, stride=1, antialiasing=1),
    ]
    last = section("shortcut", frm=-2)
    x = noise(1, 3, 8, 10)
    assert [value.shape[2:] for value in outputs([*first, conv(4)], x)] == [(4, 5)] * 3
    assert [value.shape[2:] for value in outputs([*first, conv(4), conv(4), last], x)][-1] == (4, 5)


@pytest.mark.parametrize("kind", [1, 2])
def test_antialiased_pooling(kind: int) -> None:
    x = noise(1, 3, 7, 10)
    (plain,) = outputs([section("maxpool", size=2, stride=1)], x)
    (blurred,) = outputs([section("maxpool", size=2, stride=2, antialiasing=kind)], x)
    assert np.allclose(blurred[0], slow_blur(plain[0].numpy(), kind, 2))
    assert not np.allclose(blurred[0, :, :3, :3], plain[0, :, :6:2, :6:2])
