"""A cfg for another data set: its classes, its input size, its anchors.

Nothing else of the text changes: comments, order and every other option stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ...cfg import Cfg, Line, Section, replace_layers, set_option, with_net
from ...command.errors import UserError
from ...data.options import Fit
from ..layers import Head, build_layers, input_shape
from ..layers.strides import stride_px

FloatArray = npt.NDArray[np.float64]


def heads_of(cfg: Cfg) -> tuple[Head, ...]:
    """The detection heads, in the cfg's order. Raises UserError when there is none."""
    heads = tuple(layer for layer in build_layers(cfg) if isinstance(layer, Head))
    if not heads:
        raise UserError(f"{cfg.source}: the network has no detection head")
    return heads


def head_stride_px(cfg: Cfg, head: Head) -> int:
    """Height of one cell of a head, in network pixels."""
    return input_shape(cfg)[1] // head.shape[1]


def with_classes(cfg: Cfg, nc: int) -> Cfg:
    """The cfg with `classes=nc` in every head and the `filters` that this needs before it.

    Raises CfgError for a head whose channels do not come straight from a convolution.
    """
    changed: dict[int, Section] = {}
    for head in heads_of(cfg):
        for source, filters in head.filters_for(nc).items():
            feeding = changed.get(source, cfg.layers[source])
            if not feeding.has("filters"):
                raise feeding.error(
                    f"feeds the [{head.kind}] head at layer {head.index} but has no filters= to set"
                )
            changed[source] = set_option(feeding, "filters", filters)
        changed[head.index] = head.section_for(nc)
    return replace_layers(cfg, changed)


def with_img_size(cfg: Cfg, img_hw: tuple[int, int]) -> Cfg:
    """The cfg with another input size (height, width); UserError when the strides do not divide it.

    Anchors stay as they are, in pixels.
    """
    stride = stride_px(build_layers(cfg))
    if any(side % stride for side in img_hw):
        raise UserError(
            f"input size {img_hw[0]}x{img_hw[1]}: height and width must be multiples of {stride}, "
            f"the largest stride of {cfg.source}"
        )
    net = set_option(set_option(cfg.net, "height", img_hw[0]), "width", img_hw[1])
    return with_net(cfg, net)


def with_fit(cfg: Cfg, fit: Fit) -> Cfg:
    """The cfg whose `letter_box` asks for this fit of images, in Darknet and in our commands."""
    if fit == "stretch" and not cfg.net.has("letter_box"):
        return cfg
    return with_net(cfg, set_option(cfg.net, "letter_box", int(fit == "letterbox")))


def with_activation(cfg: Cfg, old: str, new: str) -> Cfg:
    """The cfg with `activation=new` wherever a section says `activation=old`; the weights stay fit.

    Raises UserError when none says so.
    """
    said = Counter(section.text("activation", "") for section in cfg.layers)
    if not said[old]:
        others = ", ".join(f"{name} ({count})" for name, count in said.most_common() if name)
        raise UserError(f"{cfg.source}: no section has activation={old}; there are: {others}")
    layers = (
        set_option(section, "activation", new) if section.text("activation", "") == old else section
        for section in cfg.layers
    )
    return replace(cfg, layers=tuple(layers))


def anchor_count(cfg: Cfg) -> int:
    """How many anchors the heads use together, none shared."""
    return sum(len(head.mask) for head in heads_of(cfg))


def with_anchors(cfg: Cfg, anchors_px: FloatArray) -> Cfg:
    """The cfg with these anchors (anchor_count, 2), sorted by area, in place of its own.

    Each head keeps its number of anchors; the largest go to the head with the largest stride. The
    masks of Darknet's own cfgs say just that, but for yolov4-tiny's, which use one anchor twice and
    another never.
    """
    heads = heads_of(cfg)
    if not all(len(head.all_anchors) for head in heads):
        raise UserError(f"{cfg.source}: its heads have no anchors; leave out --anchors")
    masks = distribute(
        [head_stride_px(cfg, head) for head in heads], [len(head.mask) for head in heads]
    )
    changed = {}
    for head, mask in zip(heads, masks, strict=True):
        text = ",".join(_decimal(side) for side in (anchors_px / head.anchor_unit_px).ravel())
        section = set_option(head.section, "anchors", text)
        section = set_option(section, "num", len(anchors_px))
        if section.has("mask") or len(mask) < len(anchors_px):
            section = set_option(section, "mask", ",".join(map(str, mask)))
        changed[head.index] = section
    return replace_layers(cfg, changed)


def distribute(strides: Sequence[float], counts: Sequence[int]) -> list[tuple[int, ...]]:
    """The mask of each head: the smallest anchors go to the head with the smallest stride.

    Head i has the stride `strides[i]` and uses `counts[i]` anchors; no anchor is used twice.
    """
    masks: dict[int, tuple[int, ...]] = {}
    first = 0
    for head in sorted(range(len(strides)), key=lambda i: strides[i]):
        masks[head] = tuple(range(first, first + counts[head]))
        first += counts[head]
    return [masks[head] for head in range(len(strides))]


def with_title(cfg: Cfg, title: Sequence[str]) -> Cfg:
    """The cfg with comment lines at its top; what is not printable ASCII is escaped."""
    lines = (text.encode("unicode_escape").decode("ascii") for text in title)
    added = tuple(Line(f"# {text}\n", 1) for text in lines)
    return replace(cfg, preamble=(*added, *cfg.preamble))


def _decimal(length: float) -> str:
    """An anchor's side with four digits, without scientific notation, never 0."""
    digits = max(3 - int(np.floor(np.log10(max(length, 0.01)))), 1)
    return f"{max(length, 0.01):.{digits}f}".rstrip("0").rstrip(".")
