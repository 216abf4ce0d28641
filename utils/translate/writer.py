"""A checkpoint's modules -> cfg and state: one emitter per block.

An emitter writes sections and their tensors together, so that neither drifts from the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cfg import Cfg, parse_cfg, with_net, with_note
from ..command.errors import UserError
from ..network.weights import State, key_of
from ..zoo.draft import ConvSpec, Draft
from .stubs import Node

NAMES_NOTE = "names"
INPUT = -1

_ATTENTION = {
    "A2C2f", "AAttn", "ABlock", "AIFI", "Attention", "C2PSA", "C2fAttn", "C2fPSA", "C3TR", "PSA",
    "PSABlock", "RTDETRDecoder", "TransformerBlock", "TransformerLayer",
}  # fmt: skip


@dataclass(frozen=True)
class Translated:
    """An ordinary network; `names` of its classes."""

    cfg: Cfg
    state: State
    names: tuple[str, ...]


class Writer(Draft):
    """A draft that keeps the tensors of what is put into it."""

    def __init__(self, *title: str) -> None:
        super().__init__(*title)
        self.state: State = {}
        self.names: tuple[str, ...] = ()

    def put(self, spec: ConvSpec) -> int:
        """The section of a convolution and, if it has them, its tensors."""
        index = super().put(spec)
        for name, tensor in getattr(spec, "tensors", {}).items():
            self.state[key_of(index, name)] = tensor
        return index


# Reads what stands before it, returns the layer that it ends with.
Emitter = Callable[[Writer, Node], int]
# Reads the layers given; a head returns nothing that others could read.
Joiner = Callable[[Writer, Node, Sequence[int]], int]


def translate(
    checkpoint: Any,
    source: str,
    img_hw: tuple[int, int],
    emitters: dict[str, Emitter],
    joiners: dict[str, Joiner],
) -> Translated:
    """The network of a checkpoint as `load_stubs` gives it; `source` names it in errors.

    `emitters` and `joiners`: by class, the blocks with one input, and with several.
    Raises UserError for anything that is no network of such blocks; attention by its class's name.
    """
    model = _model_of(checkpoint, source)
    # A cfg is handed on: the folders of the machine that it was made on stay out of it.
    writer = Writer(f"Translated from {_printable(Path(source).name)}")
    height, width = img_hw
    writer.net(batch=1, subdivisions=1, width=width, height=height, channels=3, letter_box=1)
    layers = model.child("model")
    ends: list[int] = []
    for position, block in enumerate(layers.children()):
        sources = [_source(block, f, position, ends) for f in _from(block)]
        if INPUT in sources and (position or len(sources) > 1):
            raise block.error("reads the network's input again, which no section can")
        if block.kind in joiners:
            ends.append(joiners[block.kind](writer, block, sources))
        else:
            ends.append(_emit(writer, block, sources, emitters, joiners))
    if not any(key.startswith("layers.") for key in writer.state):
        raise UserError(f"{source}: holds no network")
    names = _names(model, len(writer.names), writer.names)
    cfg = parse_cfg(writer.text(), source)
    cfg = with_net(cfg, with_note(cfg.net, NAMES_NOTE, list(names)))
    return Translated(cfg, writer.state, names)


def _emit(
    writer: Writer,
    block: Node,
    sources: Sequence[int],
    emitters: dict[str, Emitter],
    joiners: dict[str, Joiner],
) -> int:
    emitter = emitters.get(block.kind)
    if emitter is None:
        if block.kind in _ATTENTION:
            why = "attention multiplies two feature maps over positions, which no layer can say"
        else:
            why = f"not translated; known blocks: {', '.join(sorted({*emitters, *joiners}))}"
        raise block.error(why)
    if len(sources) != 1:
        raise block.error(f"reads {len(sources)} layers, which this block cannot")
    writer.read(sources[0])  # the network's input, -1, is the last of an empty draft
    return emitter(writer, block)


def _model_of(checkpoint: Any, source: str) -> Node:
    """The module whose 'model' is the list of blocks: in ema or model, maybe wrapped."""
    found = checkpoint
    if isinstance(checkpoint, dict):
        found = checkpoint.get("ema")
        found = checkpoint.get("model") if found is None else found
        if found is None or isinstance(found, dict):
            raise UserError(
                f"{source}: has no network in 'ema' or 'model'; not a checkpoint of ultralytics' "
                "YOLO (one of this program needs no translation)"
            )
    node = Node(found, source)
    while node.has("module"):
        node = node.child("module")
    while node.has("model") and not _is_block_list(node.child("model")):
        node = node.child("model")
    if not node.has("model"):
        raise node.error("is no YOLO: it has no list of blocks called 'model'")
    return node


def _is_block_list(node: Node) -> bool:
    blocks = list(node.children())
    return bool(blocks) and all(block.has("f") for block in blocks)


def _from(block: Node) -> list[Any]:
    found = block.value("f")
    return list(found) if isinstance(found, tuple | list) else [found]


def _source(block: Node, f: Any, position: int, ends: Sequence[int]) -> int:
    """The layer that a block's `f` names: -1 is the block before, others count from the start."""
    if type(f) is not int or (not -position <= f < position and f != -1):
        raise block.error(f"reads from {str(f)[:40]}, which is no earlier block")
    if f < 0:
        f += position
    return ends[f] if f >= 0 else INPUT


def _names(model: Node, count: int, default: Sequence[str]) -> tuple[str, ...]:
    """The checkpoint's names of the classes where there are as many as classes."""
    found = model.value("names")
    if isinstance(found, dict):
        found = [found.get(i) for i in range(count)]
    if not isinstance(found, list | tuple) or len(found) != count:
        return tuple(default)
    return tuple(" ".join(str(name).split()) for name in found)


def _printable(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")
