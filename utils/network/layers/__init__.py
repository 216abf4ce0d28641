"""The section kinds: one class each, which owns its rule in every domain."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...cfg import Cfg, CfgError, Section, read_note, reads_previous
from ...cfg.head_note import HEAD_NOTE
from ...cfg.room import Room, require_room
from .attention import Attention
from .base import (
    INPUT,
    Field,
    Layer,
    PaddingMode,
    Params,
    Shape,
    SizeError,
    UnfoldableError,
    Window,
)
from .connected import Connected
from .convolutional import Convolutional
from .dfl import Dfl
from .elementwise import (
    Activation,
    Contrastive,
    Cost,
    Crop,
    Empty,
    Implicit,
    Sam,
    ScaleChannels,
    Softmax,
)
from .heads import Head, Yolo
from .normalization import BatchNorm, Normalization
from .pooling import AvgPool, LocalAvgPool, MaxPool, Upsample
from .region import GaussianYolo, Region
from .reorg import Reorg, Reorg3d
from .routing import Dropout, Route, Shortcut
from .strides import size_hint

__all__ = [
    "INPUT",
    "LAYERS",
    "Convolutional",
    "Dfl",
    "Field",
    "GaussianYolo",
    "Head",
    "Layer",
    "PaddingMode",
    "Params",
    "Region",
    "Shape",
    "Shortcut",
    "UnfoldableError",
    "Window",
    "Yolo",
    "build_layers",
    "input_shape",
]

LAYERS: dict[str, type[Layer]] = {
    layer.kind: layer
    for layer in (
        Activation,
        Attention,
        AvgPool,
        BatchNorm,
        Connected,
        Contrastive,
        Convolutional,
        Cost,
        Crop,
        Dropout,
        Empty,
        GaussianYolo,
        Implicit,
        LocalAvgPool,
        MaxPool,
        Normalization,
        Region,
        Reorg,
        Reorg3d,
        Route,
        Sam,
        ScaleChannels,
        Shortcut,
        Softmax,
        Upsample,
        Yolo,
    )
}

# Heads that Darknet has no section for: a section of another kind whose note says what it is.
_NOTED_HEADS: dict[str, type[Head]] = {head.kind: head for head in (Dfl,)}

_RECURRENT = "a recurrent layer, which has a state between images, not a detector's"
REFUSED = {
    "rnn": _RECURRENT,
    "crnn": _RECURRENT,
    "gru": _RECURRENT,
    "lstm": _RECURRENT,
    "conv_lstm": _RECURRENT,
    "history": _RECURRENT,
    "local": "kernels of their own at every position, which no detector since v1 uses",
    "detection": "the head of YOLOv1, whose loss and boxes are other ones",
}


def input_shape(cfg: Cfg, img_size: tuple[int, int] | None = None) -> Shape:
    """(channels, height, width) of the network's input; `img_size` (h, w) overrides [net]."""
    for key in ("channels", "height", "width"):
        if cfg.net.integer(key) < 1:
            raise cfg.net.error(f"must be given and at least 1, got {cfg.net.integer(key)}", key)
    height, width = img_size or (cfg.net.integer("height"), cfg.net.integer("width"))
    shape = (cfg.net.integer("channels"), height, width)
    require_room(cfg.net, "the input", math.prod(shape))
    return shape


def build_layers(cfg: Cfg, img_size: tuple[int, int] | None = None) -> tuple[Layer, ...]:
    """Every layer of a cfg with its shapes: the walk in the domain of shapes.

    Raises CfgError for anything that is not a network: an unknown section or option value, a
    reference to no layer, sizes that do not fit, tensors beyond `--tensor-limit`.
    """
    layers: list[Layer] = []
    room = Room()
    start = input_shape(cfg, img_size)
    for index, section in enumerate(cfg.layers):
        kind = _layer_class(section)
        sources = kind.read_sources(section, index)
        inputs = tuple(start if s == INPUT else layers[s].shape for s in sources)
        try:
            layer = kind(section, index, sources, inputs)
        except SizeError as error:
            raise CfgError(f"{error}{size_hint(layers, start[1], start[2])}") from None
        layers.append(layer)
        weights = sum(field.size for field in layer.fields())
        room.take(section, layer.largest_tensor(), weights, layer.shape[0])
        layer.check_owner(layers[layer.owner])
        _require_whole_size(layer, [layers[s] for s in sources if s != INPUT])
    if not layers:
        raise cfg.net.error("the cfg has no layers")
    return tuple(layers)


def _layer_class(section: Section) -> type[Layer]:
    """Raises CfgError for a section, or a note, that is not known."""
    note = read_note(section, HEAD_NOTE)
    if note is not None:
        found = (
            _NOTED_HEADS.get(note["kind"]) if isinstance(note, dict) and "kind" in note else None
        )
        if found is None:
            known = ", ".join(sorted(_NOTED_HEADS))
            raise section.error(f"its note names no head that is known ({known}): {note}")
        return found
    kind = LAYERS.get(section.kind)
    if kind is None:
        if section.kind in REFUSED:
            raise section.error(f"not supported: {REFUSED[section.kind]}")
        raise section.error(f"unknown section; known: {', '.join(sorted(LAYERS))}")
    return kind


def _require_whole_size(layer: Layer, sources: Sequence[Layer]) -> None:
    """Raise CfgError where Darknet would read a layer by another size than it has."""
    followed = reads_previous(layer.section)
    for source in sources:
        if source.followed_only and not (followed and source.index == layer.index - 1):
            raise layer.error(
                f"names layer {source.index}, whose size behind its antialiasing Darknet does not "
                "know; only the layer after it can read it"
            )
