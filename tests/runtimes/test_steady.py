"""Convolutions whose result for an image does not depend on the batch that it is in."""

from __future__ import annotations

import pytest
import torch

from models import Darknet
from tests.support.nets import conv, head, healthy_state, net
from utils.network.layers.modules import SteadyConv2d
from utils.runtimes.choose import torch_backend

SHAPES = [
    # channels in and out, size, groups, side of the map in pixels
    (128, 128, 3, 1, 10), (3, 16, 3, 1, 32), (64, 24, 1, 1, 5), (32, 32, 3, 32, 9), (8, 8, 5, 2, 7),
]  # fmt: skip


@pytest.mark.parametrize(("source", "filters", "size", "groups", "side"), SHAPES)
def test_an_image_has_the_same_bits_in_any_batch(
    source: int, filters: int, size: int, groups: int, side: int
) -> None:
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(source, filters, size, padding=size // 2, groups=groups)
    steady = SteadyConv2d.of(plain)
    x = torch.randn(5, source, side, side).to(memory_format=torch.channels_last)
    with torch.no_grad():
        whole = steady(x)
        alone = torch.cat([steady(x[k : k + 1]) for k in range(5)])
        parts = torch.cat([steady(x[:2]), steady(x[2:])])
        assert torch.equal(whole, alone) and torch.equal(whole, parts)
        torch.testing.assert_close(whole, plain(x))
        assert not torch.equal(whole[0], whole[1])  # negative control
    assert steady.weight is plain.weight and steady.state_dict().keys() == plain.state_dict().keys()


def test_other_kinds_run_as_they_did() -> None:
    plain = torch.nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(SteadyConv2d.of(plain)(x), plain(x))
    double = torch.nn.Conv2d(4, 4, 3).double()
    assert torch.equal(SteadyConv2d.of(double)(x.double()), double(x.double()))


def test_the_runtime_of_pytorch_is_steady() -> None:
    network = Darknet(net(conv(16, 3), conv(18, 1), head()))
    network.load_state(healthy_state(network))
    predict = torch_backend(network)
    assert all(
        isinstance(module, SteadyConv2d)
        for module in network.modules()
        if isinstance(module, torch.nn.Conv2d)
    )
    images = torch.rand(3, 3, *network.img_size)
    with torch.no_grad():
        whole = predict(images)
        assert torch.equal(whole, torch.cat([predict(one[None]) for one in images]))
        # A picture as it is read: channels last, and a batch of one made of it afterwards.
        pictures = images.permute(0, 2, 3, 1).contiguous()
        alone = [predict(picture.permute(2, 0, 1)[None]) for picture in pictures]
        assert torch.equal(whole, torch.cat(alone))
