"""A checkpoint's modules -> cfg and state: one emitter per block.

An emitter writes sections and their tensors together, so that neither drifts from the other. What a
block holds it hands back to the writer, which looks for the emitter again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ...cfg import Cfg, parse_cfg, with_net, with_note
from ...cfg.module_note import MODEL_NOTE, Held, module_line
from ...command.errors import UserError
from ...network.layers import build_layers
from ...network.weights import State, key_of
from ...zoo.draft import ConvSpec, Draft
from ...zoo.ultralytics_blocks import Step
from ..reading.description import model_description
from ..reading.stubs import Node

NAMES_NOTE = "names"
INPUT = -1

# Which branches of a head that has two sets: those trained for NMS, those that need none, both to
# be trained together, or what the library itself answers with.
Answer = Literal["own", "one2many", "one2one", "both"]

# A file can hold a block inside itself, or one block a million times.
_MOST_BLOCKS, _DEEPEST = 20_000, 30


@dataclass(frozen=True)
class Translated:
    """An ordinary network; `names` of its classes."""

    cfg: Cfg
    state: State
    names: tuple[str, ...]


# Reads what stands before it, returns the layer that it ends with.
Emitter = Callable[["Writer", Node], int]
# Reads the layers given; a head returns nothing that others could read.
Joiner = Callable[["Writer", Node, Sequence[int]], int]


class Writer(Draft):
    """A draft that keeps the tensors of what is put into it, and knows the blocks."""

    def __init__(
        self,
        *title: str,
        emitters: Mapping[str, Emitter],
        joiners: Mapping[str, Joiner],
        answer: Answer = "own",
    ) -> None:
        """`emitters` and `joiners`: by class, the blocks with one input, and with several."""
        super().__init__(*title)
        self.answer = answer
        self.state: State = {}
        self.names: tuple[str, ...] = ()
        self._emitters, self.joiners = emitters, joiners
        self._blocks = self._depth = 0
        self.root = "\0"  # of the places of modules that are noted; at first, of none

    def put(self, spec: ConvSpec) -> int:
        """The section of a convolution and, if it has them, its tensors and its module's place."""
        place, part = getattr(spec, "place", ""), getattr(spec, "part", "")
        if place.startswith(self.root):
            self.inside = module_line(Held(place[len(self.root) :], part))
        index = super().put(spec)
        for name, tensor in getattr(spec, "tensors", {}).items():
            self.state[key_of(index, name)] = tensor
        return index

    def block(self, node: Node) -> int:
        """A block that reads the last layer; returns the layer that it ends with.

        Raises UserError for a class without an emitter.
        """
        emitter = self._emitters.get(node.kind)
        if emitter is None:
            known = ", ".join(sorted({*self._emitters, *self.joiners}))
            raise node.error(f"not translated; known blocks: {known}")
        self._blocks += 1
        if self._blocks > _MOST_BLOCKS or self._depth > _DEEPEST:
            raise node.error("more blocks, or deeper ones, than any network has")
        self._depth += 1
        end = emitter(self, node)
        self._depth -= 1
        return end

    def steps(self, holder: Node) -> list[Step]:
        """The blocks of a list, to be written one by one when a block's sections are."""
        return [partial(self._step, node) for node in holder.children()]

    def _step(self, node: Node, _: Draft) -> int:
        return self.block(node)

    def channels(self) -> int:
        """Those of the last layer."""
        return build_layers(parse_cfg(self.text(), "the translated layers"))[-1].shape[0]


def translate(
    checkpoint: Any,
    source: str,
    img_hw: tuple[int, int],
    emitters: dict[str, Emitter],
    joiners: dict[str, Joiner],
    answer: Answer = "own",
) -> Translated:
    """The network of a checkpoint as `load_stubs` gives it; `source` names it in errors.

    `emitters` and `joiners`: by class, the blocks with one input, and with several.
    Raises UserError for anything that is no network of such blocks.
    """
    model = _model_of(checkpoint, source)
    # A cfg is handed on: the folders of the machine that it was made on stay out of it.
    title = f"Translated from {_printable(Path(source).name)}"
    writer = Writer(title, emitters=emitters, joiners=joiners, answer=answer)
    height, width = img_hw
    writer.net(batch=1, subdivisions=1, width=width, height=height, channels=3, letter_box=1)
    layers = model.child("model")
    writer.root = f"{layers.place}."
    ends: list[int] = []
    for position, block in enumerate(layers.children()):
        sources = [_source(block, f, position, ends) for f in _from(block)]
        if INPUT in sources and (position or len(sources) > 1):
            raise block.error("reads the network's input again, which no section can")
        if block.kind in joiners:
            ends.append(joiners[block.kind](writer, block, sources))
        else:
            if len(sources) != 1:
                raise block.error(f"reads {len(sources)} layers, which this block cannot")
            writer.read(sources[0])  # the network's input, -1, is the last of an empty draft
            ends.append(writer.block(block))
    if not any(key.startswith("layers.") for key in writer.state):
        raise UserError(f"{source}: holds no network")
    names = _names(model, len(writer.names), writer.names)
    cfg = parse_cfg(writer.text(), source)
    net = with_note(cfg.net, NAMES_NOTE, list(names))
    described = model_description(model.value("yaml"))
    cfg = with_net(cfg, with_note(net, MODEL_NOTE, described) if described else net)
    return Translated(cfg, writer.state, names)


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
