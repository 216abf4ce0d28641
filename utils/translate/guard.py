"""A guard against the NaN that builds of Darknet with -Ofast make of swish far below zero.

They compute 1 / (1 + exp(-x)) by an approximate reciprocal, which turns the infinite exp(-x) of
x < -88 into NaN. Released YOLOv8 models have such values. A guarded convolution gives
relu(z + 80), and a depthwise one behind it swish(that - 80) = swish(max(z, -80)), which differs
from swish(z) by less than 1e-32.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from ..cfg import Cfg, Expansion, Section, new_section, set_option, splice_layers
from ..network.graph import interpret
from ..network.layers import Layer
from ..network.layers.modules import ConvolutionModule
from ..network.weights import State, index_of, key_of, name_of, split_state

SHIFT = 80.0
_DEVIATIONS = 12


@torch.no_grad()
def lowest_swish_inputs(
    rules: Sequence[Layer], modules: Sequence[torch.nn.Module], images: Tensor
) -> dict[int, float]:
    """Layer -> the lowest value that its swish is given, over images (B, 3, H, W) in 0..1.

    `modules`: of the layers, in evaluation mode.
    """
    lowest: dict[int, float] = {}

    def rule(layer: Layer, inputs: list[Tensor]) -> Tensor:
        module = modules[layer.owner]
        if isinstance(module, ConvolutionModule) and layer.activation == "swish":
            z = module.conv(inputs[0])
            z = z if module.bn is None else module.bn(z)
            lowest[layer.index] = float(z.min())
            value: Tensor = z * z.sigmoid()
            return value
        return layer.forward(module, inputs)

    interpret(rules, rule, images)
    return lowest


def lowest_by_statistics(rules: Sequence[Layer], state: Mapping[str, Tensor]) -> dict[int, float]:
    """Layer -> how deep its swish may be driven, by the statistics of its batch normalisation.

    A channel's values have the mean beta and the deviation |gamma|; on released YOLOv8n each layer
    that falls below -80 on photographs lies there within `_DEVIATIONS` of them.
    """
    lowest: dict[int, float] = {}
    for layer, params in zip(rules, split_state(state, rules), strict=True):
        if {"conv.weight", "bn.bias"} <= params.keys() and layer.activation == "swish":
            depth = params["bn.bias"] - _DEVIATIONS * params["bn.weight"].abs()
            lowest[layer.index] = float(depth.min())
    return lowest


def sample_images(height: int, width: int) -> Tensor:
    """(3, 3, H, W): white, noise in blocks, waves; always the same.

    They reach the depths of the first layers, where photographs do too; `lowest_by_statistics`
    finds those of the heads, which answer to objects.
    """
    generator = torch.Generator().manual_seed(0)
    rows = torch.linspace(0, 25, height).view(1, -1, 1)
    columns = torch.linspace(0, 40, width).view(1, 1, -1)
    phase = torch.arange(3.0).view(3, 1, 1)
    coarse = torch.rand(3, -(-height // 16), -(-width // 16), generator=generator)
    blocks = coarse.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, :height, :width]
    waves = ((rows + phase).sin() * (columns - phase).cos() + 1) / 2
    return torch.stack((torch.ones_like(blocks), blocks, waves))


def guarded(cfg: Cfg, state: Mapping[str, Tensor], chosen: Collection[int]) -> tuple[Cfg, State]:
    """The network with a guard behind the convolutions `chosen`, which must end in swish."""
    expansions = {index: _expansion(cfg.layers[index]) for index in chosen}
    new_cfg, places = splice_layers(cfg, expansions)
    new_state: State = {}
    for key, tensor in state.items():
        old = index_of(key)
        new_state[key_of(places[old] - (old in expansions), name_of(key))] = tensor
    for old in chosen:
        first, place = places[old] - 1, places[old]
        beta = key_of(first, "bn.bias")
        beta = beta if beta in new_state else key_of(first, "conv.bias")
        new_state[beta] = new_state[beta] + SHIFT
        channels = len(new_state[beta])
        new_state[key_of(place, "conv.weight")] = torch.ones(channels, 1, 1, 1)
        new_state[key_of(place, "conv.bias")] = torch.full((channels,), -SHIFT)
    return new_cfg, new_state


def _expansion(section: Section) -> Expansion:
    channels = section.integer("filters", 1)
    behind = new_section(
        "convolutional", section.source, section.lines[0].number,
        filters=channels, groups=channels, size=1, stride=1, pad=1, activation="swish",
    )  # fmt: skip
    return [set_option(section, "activation", "relu"), behind]
