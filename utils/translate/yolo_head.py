"""YOLOv8's decoding inside AlexeyAB's dialect, so that `darknet detector test` gives the boxes.

Per level: the four distributions by `normalize_channels_softmax` (whose denominator carries 1e-4:
a bias of 20 makes that vanish and leaves the softmax as it is); their expectations, centre and
size by one fixed convolution; roots of the sides by a `[normalization]` of one channel,
x (x^2)^-1/4, because `[yolo] new_coords` squares them; objectness 1. With anchors of a quarter
of the stride, new_coords' 4 w^2 anchor is w * stride. Only AlexeyAB's Darknet has all of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..cfg import Cfg, Expansion, Section, new_section, set_option, splice_layers
from ..command.errors import UserError
from ..network.layers import Dfl, build_layers
from ..network.weights import State, index_of, key_of, name_of

_SOFTMAX_SHIFT = 20.0


def with_yolo_heads(cfg: Cfg, state: Mapping[str, Tensor]) -> tuple[Cfg, State]:
    """The network with `[yolo]` sections in the place of its dfl heads.

    Raises UserError without such heads, or where a branch ends in anything but a plain convolution.
    """
    heads = [layer for layer in build_layers(cfg) if isinstance(layer, Dfl)]
    if not heads:
        raise UserError(f"{cfg.source}: has no head of YOLOv8 to be written as [yolo]")
    for head in heads:
        if head.reg_max == 1:
            raise head.error("its sides are plain numbers (reg_max 1), which no [yolo] decodes")
    strides = [head.stride_px for head in heads]
    expansions: dict[int, Expansion] = {}
    for level, head in enumerate(heads):
        for branch in head.sources:
            _require_plain(cfg.layers[branch])
        box, classes = head.sources
        expansions[box] = _only_left(cfg.layers[box], head.reg_max)
        expansions[classes] = _logistic(cfg.layers[classes])
        expansions[head.index] = _decoding(head, box, classes, level, strides)
    new_cfg, places = splice_layers(cfg, expansions)
    new_state = {
        key_of(places[index_of(key)], name_of(key)): tensor for key, tensor in state.items()
    }
    for head in heads:
        new_state |= _head_tensors(head, state, places)
    return new_cfg, new_state


def _require_plain(section: Section) -> None:
    if section.kind != "convolutional" or section.flag("batch_normalize"):
        raise section.error("a branch of a head must end in a convolution without normalisation")


def _conv(section: Section, filters: int, activation: str) -> Section:
    options: dict[str, Any] = {"filters": filters, "size": 1, "stride": 1, "pad": 1}
    line = section.lines[0].number
    return new_section("convolutional", section.source, line, **options, activation=activation)


def _only_left(section: Section, reg_max: int) -> Expansion:
    """The box branch's last convolution gives the first side; the others come with the head."""
    return [_conv(section, reg_max, "normalize_channels_softmax")]


def _logistic(section: Section) -> Expansion:
    return [set_option(section, "activation", "logistic")]


# Where the sections of a decoded head stand, counted from the first of them.
_SIDE_CONVS = (1, 3, 5)  # top, right, bottom, each behind a [route] to the hidden layer
_SPREAD = 6  # the four sides' distributions side by side
_CENTRE, _WIDTH, _HEIGHT, _OBJECTNESS = 7, 9, 12, 15
_ROOTS = (10, 13)


def _decoding(head: Dfl, box: int, classes: int, level: int, strides: list[int]) -> Expansion:
    def expand(start: int, places: Mapping[int, int]) -> list[Section]:
        section, line = head.section, head.section.lines[0].number

        def route(*layers: int) -> Section:
            text = ",".join(map(str, layers))
            return new_section("route", section.source, line, layers=text)

        def root() -> Section:
            options: dict[str, Any] = {"size": 2, "alpha": 1, "beta": "0.25", "kappa": 0}
            return new_section("normalization", section.source, line, **options)

        hidden = places[box] - 1  # what the box branch's last convolution follows
        spread = start + _SPREAD
        parts: list[Section] = []
        for _ in _SIDE_CONVS:
            parts += [route(hidden), _conv(section, head.reg_max, "normalize_channels_softmax")]
        parts.append(route(places[box], *(start + k for k in _SIDE_CONVS)))
        parts.append(_conv(section, 2, "linear"))
        for _ in _ROOTS:
            parts += [route(spread), _conv(section, 1, "linear"), root()]
        parts += [route(spread), _conv(section, 1, "linear")]
        own = (_CENTRE, *_ROOTS, _OBJECTNESS)
        parts.append(route(*(start + k for k in own), places[classes]))
        parts.append(_yolo(section, level, strides, head.nc))
        return parts

    return expand


def _yolo(section: Section, level: int, strides: list[int], nc: int) -> Section:
    quarter = ",".join(f"{stride / 4:g},{stride / 4:g}" for stride in strides)
    options: dict[str, Any] = {
        "mask": level,
        "anchors": quarter,
        "classes": nc,
        "num": len(strides),
        "new_coords": 1,
        "scale_x_y": 1,
    }
    return new_section("yolo", section.source, section.lines[0].number, **options)


def _head_tensors(head: Dfl, state: Mapping[str, Tensor], places: Mapping[int, int]) -> State:
    """Tensors of the sections of `_decoding`, and of the branch that now gives one side alone."""
    box = head.sources[0]
    kernels = torch.split(state[key_of(box, "conv.weight")], head.reg_max)
    biases = torch.split(state[key_of(box, "conv.bias")] + _SOFTMAX_SHIFT, head.reg_max)
    start = places[head.index] - _OBJECTNESS - 2
    bins = torch.arange(float(head.reg_max))
    none = torch.zeros_like(bins)
    # Rows of fixed kernels over the bins of left, top, right, bottom.
    fixed = {
        _CENTRE: ([(-bins / 2, none, bins / 2, none), (none, -bins / 2, none, bins / 2)], 0.5),
        _WIDTH: ([(bins, none, bins, none)], 0.0),
        _HEIGHT: ([(none, bins, none, bins)], 0.0),
        _OBJECTNESS: ([(none, none, none, none)], 1.0),
    }
    found: State = {}
    for side, place in enumerate((places[box], *(start + k for k in _SIDE_CONVS))):
        found[key_of(place, "conv.weight")] = kernels[side]
        found[key_of(place, "conv.bias")] = biases[side]
    for offset, (rows, bias) in fixed.items():
        kernel = torch.stack([torch.cat(row) for row in rows])
        found[key_of(start + offset, "conv.weight")] = kernel.view(len(rows), -1, 1, 1)
        found[key_of(start + offset, "conv.bias")] = torch.full((len(rows),), bias)
    return found
