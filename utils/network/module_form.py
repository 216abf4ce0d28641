"""What the modules of ultralytics can hold: which sections must keep equal counts to go back.

A cfg that was translated notes the module of each convolution (cfg/module_note.py). Some modules
are several sections here, with channels that go one by one; there they are one convolution that is
split by a rule of its own: in the middle, or head by head. This is the one place that knows those
rules: `--form ultralytics` gives them to a prune, and export.py asks whether a network keeps them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..cfg.module_note import HALVES, LIKE_VALUES, QUERIES, VALUES, Held, held_by
from ..command.errors import UserError
from .graph import ChannelGraph
from .layers import Layer

FLAG = "--form ultralytics"


@dataclass(frozen=True)
class EqualCounts:
    """Layer `second` keeps as many channels as `first`, or as what `first` reads."""

    first: int
    second: int
    of_input: bool
    why: str

    def counts(self, layers: Sequence[Layer]) -> tuple[int, int]:
        """Channels of both."""
        first = layers[self.first]
        return (first.inputs[0] if self.of_input else first.shape)[0], layers[self.second].shape[0]


def modules_of(layers: Sequence[Layer]) -> dict[int, Held]:
    """What each layer with a note is in its module. Raises UserError where none has one."""
    found = {layer.index: held_by(layer.section) for layer in layers}
    held = {index: held for index, held in found.items() if held is not None}
    if not held:
        raise UserError(
            f"{layers[0].section.source}: notes no modules of ultralytics: only what translate.py "
            "makes of a checkpoint (older ones: once more) can go back"
        )
    return held


def equal_counts(layers: Sequence[Layer]) -> tuple[EqualCounts, ...]:
    """All that must be equal. Raises UserError as `modules_of`."""
    at = {held: index for index, held in modules_of(layers).items()}
    return tuple(_rules(at))


def _rules(at: dict[Held, int]) -> Iterator[EqualCounts]:
    for held, index in at.items():
        other = Held(held.module, HALVES[0] if held.part == HALVES[1] else VALUES)
        first = at.get(other, index)
        if held.part == HALVES[1] and first != index:
            yield EqualCounts(first, index, False, f"are halves of {held.module}")
        elif held.part == LIKE_VALUES and first != index:
            yield EqualCounts(first, index, False, f"are values and queries of {held.module}")
        elif held.part == QUERIES and first != index:
            yield EqualCounts(
                index, first, True, f"are what {held.module} reads, and the values that it makes"
            )


def with_form(graph: ChannelGraph) -> ChannelGraph:
    """The graph of which a prune leaves only what the modules can hold.

    Raises UserError for a network whose modules are not noted, or that does not keep the rules.
    """
    rules = equal_counts(graph.layers)
    require_form(graph.layers)
    rows = tuple(
        np.stack(
            [
                graph.inputs[rule.first][0] if rule.of_input else graph.outputs[rule.first],
                graph.outputs[rule.second],
            ]
        )
        for rule in rules
    )
    return replace(
        graph,
        equal_parts=(*graph.equal_parts, *rows),
        parted_by=(*graph.parted_by, *(rule.second for rule in rules)),
    )


def require_form(layers: Sequence[Layer]) -> None:
    """Raise UserError where counts differ that must be equal, and name the flag for a prune."""
    for rule in equal_counts(layers):
        first, second = rule.counts(layers)
        if first != second:
            raise UserError(
                f"{layers[0].section.source}: ultralytics' modules cannot hold it: layers "
                f"{rule.first} and {rule.second} {rule.why}, and have {first} and {second} "
                f"channels; prune what was translated with {FLAG}"
            )
