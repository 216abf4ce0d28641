"""Removing layers from a cfg; every reference to what remains is renumbered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .edit import new_section
from .parse import Cfg, Section
from .references import reads_previous, renumber


def drop_layers(cfg: Cfg, stand_in: Mapping[int, int]) -> tuple[Cfg, dict[int, int]]:
    """Remove the layers that are keys of `stand_in`.

    `stand_in[i]` is the earlier layer whose output takes the place of layer i's, or -1 for the
    network's input. Readers of layer i, by a reference or by following it, then read that; where
    a reader would now follow another layer than the one it must read, a `[route]` is put before it.
    Returns the new cfg and old index -> new index of the layers that stay.
    Raises CfgError when a `[route]` or such names a layer that only the network's input stands for.
    """
    resolved = {i: _resolve(i, stand_in) for i in range(len(cfg.layers))}
    new_index: dict[int, int] = {}
    sections: list[Section] = []
    for old, section in enumerate(cfg.layers):
        if old in stand_in:
            continue
        followed = resolved[old - 1] if old else -1
        expected = new_index[followed] if followed >= 0 else -1
        if reads_previous(section) and expected != len(sections) - 1:
            line = section.lines[0].number
            sections.append(new_section("route", section.source, line, layers=expected))
        position = len(sections)

        def move(target: int, reader: Section = section) -> int:
            source = resolved[target]
            if source < 0:
                raise reader.error("would have to name the network's input, which no key can")
            return new_index[source]

        sections.append(renumber(section, old, position, move))
        new_index[old] = position
    return replace(cfg, layers=tuple(sections)), new_index


def _resolve(index: int, stand_in: Mapping[int, int]) -> int:
    while index in stand_in:
        index = stand_in[index]
    return index
