"""Removing layers from a cfg; every reference to what remains is renumbered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .edit import new_section
from .parse import Cfg, Section
from .references import reads_previous, references, renumber


def drop_layers(cfg: Cfg, stand_in: Mapping[int, int]) -> tuple[Cfg, dict[int, int]]:
    """Remove the layers that are keys of `stand_in`.

    `stand_in[i]` is the earlier layer whose output takes the place of layer i's, or -1 for the
    network's input. Readers of layer i, by a reference or by following it, then read that; where
    a reader would now follow another layer than the one it must read, a `[route]` is put before it.
    Returns the new cfg and old index -> new index of the layers that stay.
    Raises CfgError when a reader other than the first layer is left with the network's input, which
    no key can name, and when a layer goes whose kernel one that stays uses (`share_index`).
    """
    resolved = {i: _resolve(i, stand_in) for i in range(len(cfg.layers))}
    new_index: dict[int, int] = {}
    sections: list[Section] = []
    for old, section in enumerate(cfg.layers):
        if old in stand_in:
            continue
        followed = resolved[old - 1] if old else -1
        expected = new_index[followed] if followed >= 0 else -1
        _require_kernel(section, old, stand_in)

        def move(target: int, reader: Section = section) -> int:
            return new_index[_named(reader, resolved[target])]

        if reads_previous(section) and expected != len(sections) - 1:
            line, layers = section.lines[0].number, _named(section, expected)
            sections.append(new_section("route", section.source, line, layers=layers))
        position = len(sections)
        sections.append(renumber(section, old, position, move))
        new_index[old] = position
    return replace(cfg, layers=tuple(sections)), new_index


def _resolve(index: int, stand_in: Mapping[int, int]) -> int:
    while index in stand_in:
        index = stand_in[index]
    return index


def _named(reader: Section, index: int) -> int:
    if index < 0:
        raise reader.error("would have to name the network's input, which no key can")
    return index


def _require_kernel(section: Section, index: int, stand_in: Mapping[int, int]) -> None:
    for target in references(section, index, "share_index"):
        if target in stand_in:
            raise section.error(f"uses the kernel of layer {target}, which goes", "share_index")
