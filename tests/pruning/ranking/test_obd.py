"""`--importance obd`: finite differences of single weights, and what goes with a channel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from models import Darknet
from tests.support.nets import conv, head, healthy, image, net, section
from utils.command.errors import UserError
from utils.network.graph import channel_graph
from utils.pruning.importance.obd import obd

TIED = net(
    conv(4, stride=2), conv(3, 1), conv(4), section("shortcut", frm=-3), conv(4, groups=4),
    section("route", layers="-1,-2"), conv(6, groups=2), head(),
)  # fmt: skip


def square_loss(raw: list[Tensor], targets: Tensor, img_hw: tuple[int, int]) -> Tensor:
    return (raw[0] * targets.sum()).square().mean()


def images(model: Darknet, count: int = 2) -> list[tuple[Tensor, Tensor]]:
    return [
        (image(model, seed).double(), torch.full((1,), 1.0 + seed).double())
        for seed in range(count)
    ]


def half_fisher(model: Darknet, shown: list[tuple[Tensor, Tensor]], key: str, at: int) -> float:
    """1/2 w^2 F of one number of the state, its slopes by finite differences."""
    flat, step = model.state_dict()[key].reshape(-1), 1e-6
    start, slopes = flat[at].item(), []
    for x, targets in shown:
        ends = []
        for shift in (step, -step):
            flat[at] = start + shift
            with torch.no_grad():
                ends.append(square_loss(model.raw_heads(x), targets, (32, 32)).item())
        flat[at] = start
        slopes.append((ends[0] - ends[1]) / (2 * step))
    return 0.5 * start**2 * float(np.mean(np.square(slopes)))


def test_a_channel_counts_all_weights_that_go_with_it() -> None:
    """Of the tied channel 1: two filters, gammas and betas, a depthwise one, three readers."""
    model = healthy(TIED).double()
    shown = images(model)
    found = obd(channel_graph(model.rules), model, shown, square_loss)
    own = [
        (f"layers.{layer}.{name}", slice(1, 2))
        for layer in (0, 2, 4)
        for name in ("conv.weight", "bn.weight", "bn.bias")
    ]
    # Layer 1 reads it, and the grouped layer 6 twice: its second input is the depthwise channel 1,
    # in the first group; its sixth is the sum's, in the second one.
    state = model.state_dict()
    places = [
        (key, np.arange(state[key].numel()).reshape(state[key].shape)[part].reshape(-1))
        for key, part in own
    ]
    kernel = np.arange(state["layers.1.conv.weight"].numel()).reshape(
        state["layers.1.conv.weight"].shape
    )
    grouped = np.arange(state["layers.6.conv.weight"].numel()).reshape(
        state["layers.6.conv.weight"].shape
    )
    places += [
        ("layers.1.conv.weight", kernel[:, 1].reshape(-1)),
        ("layers.6.conv.weight", grouped[:, 1].reshape(-1)),
    ]
    expected = sum(half_fisher(model, shown, key, int(at)) for key, many in places for at in many)
    assert found[0][1] == pytest.approx(expected, rel=1e-5)
    # Tied channels have one score, and another channel another one.
    assert found[0][1] == found[2][1] == found[4][1]
    assert found[0][0] != pytest.approx(expected, rel=1e-3)


def test_it_leaves_the_model_as_it_was_and_needs_an_image() -> None:
    model = healthy(TIED).double().train()
    frozen = model.layers[0].get_parameter("bn.weight").requires_grad_(False)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    graph = channel_graph(model.rules)
    obd(graph, model, images(model), square_loss)
    assert model.training and not frozen.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    with pytest.raises(UserError, match="at least one labelled image"):
        obd(graph, model, [], square_loss)


def test_signs_of_images_do_not_cancel() -> None:
    """Slopes of opposite signs: their mean is 0, the Fisher information is not."""
    model = healthy(net(conv(3), head())).double()
    x, _ = images(model, 1)[0]

    def signed(raw: list[Tensor], targets: Tensor, img_hw: tuple[int, int]) -> Tensor:
        return raw[0].mean() * targets.sum()

    both = [(x, torch.ones(1).double()), (x, -torch.ones(1).double())]
    found = obd(channel_graph(model.rules), model, both, signed)
    alone = obd(channel_graph(model.rules), model, both[:1], signed)
    np.testing.assert_allclose(found[0], alone[0], rtol=1e-9)
    assert (found[0] > 0).all()
