"""What a cfg says about its network, for people: layers, cost, heads, and what pruning may do."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..command.table import table
from ..network.cost import count_bflops, count_macs, count_parameters, file_bytes
from ..network.graph import ChannelGraph
from ..network.layers import INPUT, Head, Layer, Shape
from ..network.layers.ties import Ids
from ..network.receptive_field import receptive_field_px
from ..network.two_sets import two_sets_line
from ..pruning.candidates import find_candidates
from ..pruning.strategy import ChannelRule, Strategy
from ..pruning.structure import removable_by_structure

Rows = list[list[str]]


# -- layers -----------------------------------------------------------------------------------


# The rule that may remove most: no channel stays just for being tied.
_WIDEST = ChannelRule(tied="max")


def layer_table(graph: ChannelGraph) -> str:
    """One row per layer; `may go` counts the channels that some script may remove."""
    prunable = find_candidates(graph, _WIDEST).prunable
    titles = "|layer|out|options|from|input -> output (w x h x c)|parameters|BFLOPs|may go"
    rows = [titles.split("|")]
    for layer in graph.layers:
        free = prunable.get(layer.index)
        rows.append(
            [
                str(layer.index),
                layer.role,
                str(layer.shape[0]),
                layer.traits(),
                _sources(layer),
                f"{_size(layer.inputs[0]) if layer.inputs else '-'} -> {_size(layer.shape)}",
                _blank_zero(count_parameters([layer]), ","),
                _blank_zero(count_bflops([layer]), ".3f"),
                _blank_zero(0 if free is None else int(free.sum()), "d"),
            ]
        )
    return table(rows, right=(0, 2, 6, 7, 8), framed=False)


def totals(layers: Sequence[Layer]) -> str:
    """Parameters, size of the weights file, MACs; what of it only trains."""
    numbers = sum(field.size for layer in layers for field in layer.fields())
    return (
        f"{len(layers)} layers, {count_parameters(layers):,} parameters, "
        f"{count_macs(layers):,} MACs = {count_bflops(layers):.3f} BFLOPs\n"
        f"weights file: {numbers:,} numbers, {file_bytes(layers):,} bytes"
        + (f"\n{two_sets}" if (two_sets := two_sets_line(layers)) else "")
    )


def _sources(layer: Layer) -> str:
    """What it reads, unless that is just the layer before."""
    if layer.sources == (layer.index - 1,):
        return ""
    return ", ".join("input" if s == INPUT else str(s) for s in layer.sources)


def _size(shape: Shape) -> str:
    channels, height, width = shape
    return f"{width} x {height} x {channels}"


def _blank_zero(value: float, form: str) -> str:
    return format(value, form) if value else ""


# -- heads ------------------------------------------------------------------------------------


def head_table(layers: Sequence[Layer]) -> str:
    """Grid, cell, anchors and receptive field of each head, or of the output without heads."""
    _, height, width = layers[0].inputs[0]
    rows = [["head", "kind", "grid (w x h)", "cell, px", "receptive field, px", "anchors, px"]]
    heads: list[Layer] = [layer for layer in layers if isinstance(layer, Head)]
    for layer in heads or [output_layer(layers)]:
        _, grid_h, grid_w = layer.shape
        rows.append(
            [
                str(layer.index),
                layer.kind,
                f"{grid_w} x {grid_h}",
                f"{width / grid_w:g} x {height / grid_h:g}",
                field_text(receptive_field_px(layers, layer.index), (height, width)),
                anchors_text(layer) if isinstance(layer, Head) else "",
            ]
        )
    return table(rows, right=(0,), framed=False)


def output_layer(layers: Sequence[Layer]) -> Layer:
    """The layer whose value a network without heads gives."""
    return [layer for layer in layers if layer.gives_output][-1]


def field_text(field_px: tuple[float, float], image_hw: tuple[int, int]) -> str:
    """`width x height`, beside what that is of the image."""
    (field_h, field_w), (height, width) = field_px, image_hw
    if math.inf in field_px:
        return "the whole image, whatever its size"
    share = min(field_h / height, field_w / width)
    return f"{field_w:.0f} x {field_h:.0f} ({share:.1f} x the image)"


def anchors_text(head: Head) -> str:
    """`10x13 16x30 33x23`."""
    return " ".join(f"{width:.4g}x{height:.4g}" for width, height in head.anchors_px)


# -- channels ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class TiedGroup:
    """Convolutions with channels in common: those stay or go together."""

    layers: tuple[int, ...]  # whose kernels put the channels out
    through: tuple[int, ...]  # the layers that tie them
    channels: int  # decisions to take: one for all channels that are tied
    tied: int  # of these, how many are about more than one channel


def tied_groups(graph: ChannelGraph) -> list[TiedGroup]:
    """The groups in the order of their first layer; a layer tied to nothing is in none."""
    owners: dict[int, list[int]] = {}  # class -> a layer for each channel of the class
    for index, classes in sorted(graph.issued.items()):
        for found in classes.tolist():
            owners.setdefault(found, []).append(index)
    tied = {found: set(layers) for found, layers in owners.items() if len(layers) > 1}
    groups = []
    for members in _merged(tied.values()):
        classes = np.unique(np.concatenate([graph.issued[index] for index in members]))
        shared = {found for found in classes.tolist() if found in tied}
        through = [i for i, ids in graph.tied_by.items() if not shared.isdisjoint(ids.tolist())]
        groups.append(
            TiedGroup(tuple(sorted(members)), tuple(sorted(through)), len(classes), len(shared))
        )
    return sorted(groups, key=lambda group: group.layers)


def _merged(sets: Iterable[set[int]]) -> list[set[int]]:
    """The sets with those that overlap joined."""
    merged: list[set[int]] = []
    for found in {frozenset(s) for s in sets}:
        overlapping = [group for group in merged if not group.isdisjoint(found)]
        merged = [group for group in merged if group.isdisjoint(found)]
        merged.append(set(found).union(*overlapping))
    return merged


def group_lines(graph: ChannelGraph) -> Iterator[str]:
    """One line per tied group, and one per split into parts of equal counts."""
    for group in tied_groups(graph):
        through = _by_role(graph, group.through)
        some = "" if group.tied == group.channels else f", {group.tied} of them tied"
        yield f"{_ranges(group.layers)}: {group.channels} channels{some}, through {through}"
    splits: dict[tuple[int, int], set[int]] = {}
    for ids, index in zip(graph.equal_parts, graph.parted_by, strict=True):
        splits.setdefault((index, len(ids)), set()).update(_issuers(graph, ids))
    for (index, count), issuers in splits.items():
        role = graph.layers[index].role
        yield f"{_ranges(sorted(issuers))}: equal counts in {count} parts, for {role} {index}"


def _issuers(graph: ChannelGraph, ids: Ids) -> tuple[int, ...]:
    return tuple(i for i, classes in sorted(graph.issued.items()) if np.isin(classes, ids).any())


def _by_role(graph: ChannelGraph, indices: Sequence[int]) -> str:
    """`shortcut 4, 8; sam 20`."""
    by_role: dict[str, list[int]] = {}
    for index in indices:
        by_role.setdefault(graph.layers[index].role, []).append(index)
    return "; ".join(f"{role} {_ranges(found)}" for role, found in by_role.items())


def _ranges(indices: Sequence[int]) -> str:
    """`1-3, 7`."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    # Two neighbours are no run worth a dash.
    return ", ".join(
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs
    )


def staying_lines(graph: ChannelGraph) -> Iterator[str]:
    """One line per reason why channels must stay, with the layers that it is about."""
    candidates = find_candidates(graph, _WIDEST)
    may_go = np.zeros(graph.count, bool)
    for index, free in candidates.prunable.items():
        may_go[graph.issued[index][free]] = True
    found: dict[str, list[str]] = {}
    for index, classes in sorted(graph.issued.items()):
        staying = classes[~may_go[classes]].tolist()
        reasons = Counter(graph.pinned.get(c, candidates.reasons.get(index, "")) for c in staying)
        for reason, count in reasons.items():
            share = "" if count == len(classes) else f" ({count} of {len(classes)})"
            found.setdefault(reason, []).append(f"{index}{share}")
    for reason, layers in found.items():
        yield f"{reason}: {', '.join(layers)}"


def block_lines(graph: ChannelGraph) -> Iterator[str]:
    """The residual blocks that may go, and the shortcuts that hold none."""
    blocks, reasons = removable_by_structure(graph)
    if blocks:
        yield f"may go, with shortcut {_ranges([block.shortcut for block in blocks])}"
    by_reason: dict[str, list[int]] = {}
    for index, reason in reasons.items():
        by_reason.setdefault(reason, []).append(index)
    for reason, shortcuts in by_reason.items():
        yield f"stays, shortcut {_ranges(shortcuts)}: {reason}"


def script_table(graph: ChannelGraph, strategies: Mapping[str, Strategy]) -> str:
    """What each pruning script may remove: channels, and residual blocks."""
    total = sum(len(classes) for classes in graph.issued.values())
    blocks = str(len(removable_by_structure(graph)[0]))
    rows = [["script", "channels that may go", f"of {total:,}", "convolutions", "blocks"]]
    for name, strategy in strategies.items():
        row = [name, "-", "-", "-", blocks if strategy.blocks else "-"]
        if strategy.channels:
            found = find_candidates(graph, strategy.channels).prunable.values()
            free = [mask for mask in found if mask.any()]
            count = sum(int(mask.sum()) for mask in free)
            row[1:4] = f"{count:,}", f"{count / max(1, total):.1%}", str(len(free))
        rows.append(row)
    return table(rows, right=(1, 2, 3, 4), framed=False)
