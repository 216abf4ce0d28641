"""A network run from a layer on puts out what the whole one does, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models import Darknet
from tests.support.nets import conv, head, healthy, image, net, random_net
from tests.support.prune_case import RULES
from utils.chains.sensitivity import tail as module
from utils.chains.sensitivity.subject import Subject
from utils.chains.sensitivity.tail import Front, Tail, numbered
from utils.network.batch_norm.statistics import recalibrate_
from utils.network.graph import channel_graph
from utils.pruning.importance.batch_norm import batch_norm_scale
from utils.pruning.sensitivity.groups import make_cutter

SEEDS = range(6)


def batches(model: Darknet) -> list[Tensor]:
    return [image(model, 1), image(model, 2), image(model, 3, batch=1)]


@torch.no_grad()
def from_the_front(model: Darknet, front: Front) -> list[list[Tensor]]:
    return [Tail(model, front)(number) for number in numbered(front)]


@torch.no_grad()
def whole(model: Darknet, inputs: list[Tensor]) -> list[list[Tensor]]:
    return [model.raw_heads(x) for x in inputs]


def same(a: list[list[Tensor]], b: list[list[Tensor]]) -> bool:
    pairs = zip(a, b, strict=True)
    return all(torch.equal(x, y) for p, q in pairs for x, y in zip(p, q, strict=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_from_any_layer_on_the_heads_are_the_same(seed: int) -> None:
    model = healthy(random_net(seed), seed)
    inputs = batches(model)
    wanted = whole(model, inputs)
    stepwise = Front(model, inputs)
    for place in range(len(model.rules) + 1):
        stepwise.advance(place)
        assert stepwise.place == place
        assert same(from_the_front(model, stepwise), wanted)
        assert same(from_the_front(model, stepwise), wanted)  # what it holds is not used up
        at_once = Front(model, inputs)
        at_once.advance(place)
        assert same(from_the_front(model, at_once), wanted)


def test_a_network_that_differs_before_the_place_is_noticed() -> None:
    """Negative control: of such a network the tail sees nothing."""
    model = healthy(net(conv(8), conv(8), head()))
    front = Front(model, batches(model))
    front.advance(1)
    with torch.no_grad():
        model.layers[0].bn.bias += 1
    assert not same(from_the_front(model, front), whole(model, batches(model)))


@pytest.mark.parametrize("seed", SEEDS)
def test_cut_networks_from_their_group_on(seed: int) -> None:
    model = healthy(random_net(seed), seed)
    graph = channel_graph(model.rules)
    cutter = make_cutter(graph, batch_norm_scale(graph, model.state_dict()), RULES["slim"], {})
    subject = Subject(Darknet, model, model.state_dict())
    front = Front(model, batches(model))
    seen = 0
    for group in cutter.groups():
        front.advance(group.layers[0])
        small = subject.cut(cutter.plan(group, 0.5)).eval()
        heads = whole(small, batches(model))
        assert same(from_the_front(small, front), heads)
        seen += not same(heads, whole(model, batches(model)))
    assert seen  # negative control: the cuts change the heads


def test_what_takes_too_much_memory_is_computed_again() -> None:
    model = healthy(net(conv(4, stride=2), conv(16), conv(2, 1), conv(16), head()))
    inputs = batches(model)
    per_cell = 5 * 16 * 16 * 4  # bytes of a channel: 5 images of 16 x 16 cells
    front = Front(model, inputs, most_bytes=5 * per_cell)
    places = []
    for layer in range(5):
        front.advance(layer)
        places.append(front.place)
        assert same(from_the_front(model, front), whole(model, inputs))
    # Before layer 0 the images (3 channels of 32 x 32) are held in any case; 16 are too many.
    assert places == [0, 1, 1, 3, 3]


def test_statistics_behind_the_place_are_those_of_the_whole_network() -> None:
    """And those before it, which the cut does not reach, stay."""
    model = healthy(net(conv(8), conv(8), conv(6), head()))
    front = Front(model, batches(model))
    front.advance(2)
    twin = healthy(net(conv(8), conv(8), conv(6), head()))
    before = {key: tensor.clone() for key, tensor in twin.state_dict().items()}
    seen = recalibrate_(Tail(twin, front), numbered(front))
    after = twin.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert seen == 5
    assert changed == {f"layers.2.bn.{name}" for name in ("running_mean", "running_var")}


def test_layers_that_are_read_later_are_kept() -> None:
    model = healthy(random_net(1), 1)
    last = module._last_readers(model.rules)
    front = Front(model, batches(model))
    for place in range(len(model.rules)):
        front.advance(place)
        wanted = {s for s, reader in last.items() if s < place <= reader}
        assert all(set(values) == wanted for values in front.values)
