"""Attention of YOLOv10, 11, 12 and 26: three convolutions, `[attention]`, and what is around.

The original has one convolution for queries, keys and values, whose filters lie head by head, in
each head [queries, keys, values].
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...cfg.module_note import KEYS, LIKE_VALUES, QUERIES, SCALE, VALUES
from ...zoo.attention_blocks import Attending, attend
from ..reading.stubs import Node
from .convs import TensorConv, fixed_conv, read_conv
from .v8 import halves_of
from .writer import Emitter, Writer


def _attention(writer: Writer, node: Node) -> int:
    """Of C2PSA and PSA: fewer channels of keys than of values; the whole map at once."""
    key, value = node.integer("key_dim"), node.integer("head_dim")
    scale = node.number("scale") if node.has("scale") else max(key, 1) ** -0.5
    return _attend(writer, node, (key, value), scale, area=1, queries=QUERIES)


def _area_attention(writer: Writer, node: Node) -> int:
    """Of A2C2f: as many channels of all, in bands of the map."""
    width = node.integer("head_dim")
    scale = max(width, 1) ** -0.5
    area = node.integer("area", 1)
    return _attend(writer, node, (width, width), scale, area, queries=LIKE_VALUES)


def _attend(
    writer: Writer, node: Node, widths: tuple[int, int], scale: float, area: int, queries: str
) -> int:
    """`widths`: channels of keys and of values in each head. `queries`: their part's name."""
    heads = node.integer("num_heads")
    conv = read_conv(node.child("qkv"))
    key, value = widths
    per_head = 2 * key + value
    if min(heads, key, value, area) < 1 or conv.filters != heads * per_head:
        raise node.error(
            f"its {conv.filters} channels are not those of {heads} heads of {key}, {key}, {value}"
        )
    rows = torch.arange(conv.filters).view(heads, per_head)
    parts = zip((queries, KEYS, VALUES), torch.split(rows, [key, key, value], 1), strict=True)
    pairs, partners, whole = (
        replace(_filters(conv, part.flatten()), part=name) for name, part in parts
    )
    place, last = (read_conv(node.child(name)) for name in ("pe", "proj"))
    return attend(writer, Attending(pairs, partners, whole, place, last), heads, scale, area)


def _filters(conv: TensorConv, rows: Tensor) -> TensorConv:
    """The convolution of these filters alone."""
    tensors = {name: tensor[rows] for name, tensor in conv.tensors.items()}
    return replace(conv, filters=len(rows), tensors=tensors)


def _around(writer: Writer, node: Node, add: bool) -> int:
    """A block, and its input added."""
    source = writer.last
    end = writer.block(node)
    return writer.shortcut(source) if add else end


def _psa_block(writer: Writer, node: Node) -> int:
    """Attention, then two convolutions over the channels; each adds its input."""
    add = bool(node.value("add", True))
    _around(writer, node.child("attn"), add)
    return _around(writer, node.child("ffn"), add)


def _area_block(writer: Writer, node: Node) -> int:
    _around(writer, node.child("attn"), add=True)
    return _around(writer, node.child("mlp"), add=True)


def _psa(writer: Writer, node: Node) -> int:
    """Half of the channels go around, the other half through attention."""
    source = writer.last
    first, second = halves_of(node, read_conv(node.child("cv1")))
    around = writer.put(first)
    writer.read(source)
    writer.put(second)
    through = writer.block(node.child("m")) if node.has("m") else _psa_block(writer, node)
    writer.route(around, through)
    return writer.put(read_conv(node.child("cv2")))


def _a2c2f(writer: Writer, node: Node) -> int:
    """As C2f without halves; of the larger sizes the input is added, scaled channel by channel."""
    source = writer.last
    parts = [writer.put(read_conv(node.child("cv1")))]
    parts += [writer.block(child) for child in node.child("m").children()]
    writer.route(*parts)
    end = writer.put(read_conv(node.child("cv2")))
    if not node.has("gamma"):
        return end
    gamma = node.tensor("gamma").flatten()
    place = f"{node.place}.gamma"
    writer.put(fixed_conv(gamma.view(-1, 1, 1, 1), groups=len(gamma), place=place, part=SCALE))
    return writer.shortcut(source)


EMITTERS: dict[str, Emitter] = {
    "A2C2f": _a2c2f,
    "AAttn": _area_attention,
    "ABlock": _area_block,
    "Attention": _attention,
    "C2PSA": _psa,
    "PSA": _psa,
    "PSABlock": _psa_block,
}
