"""Putting several sections in the place of one; every reference is renumbered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from .parse import Cfg, Section
from .references import renumber

# Sections that name no others, or what gives them for the index of the first of them and the new
# index of each earlier layer.
Expansion = Sequence[Section] | Callable[[int, Mapping[int, int]], Sequence[Section]]


def splice_layers(cfg: Cfg, expansions: Mapping[int, Expansion]) -> tuple[Cfg, dict[int, int]]:
    """Each layer that is a key of `expansions` becomes the sections that its expansion gives.

    Readers of such a layer read the last of these sections, which the one after it follows.
    Returns the cfg and old index -> new index (of the last section).
    """
    places: dict[int, int] = {}
    sections: list[Section] = []
    for old, section in enumerate(cfg.layers):
        start = len(sections)
        if old in expansions:
            found = expansions[old]
            sections += found(start, places) if callable(found) else found
        else:
            sections.append(renumber(section, old, start, places.__getitem__))
        places[old] = len(sections) - 1
    return replace(cfg, layers=tuple(sections)), places
