"""Widths as plain values, and their file: JSON, read as data that anyone may have written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from ..sensitivity.record import Ranked
from ..strict_json import (
    a_count,
    a_hash,
    a_list,
    a_word,
    an_object,
    fail,
    of_format,
    read_content,
    whole,
    write_content,
)

FORMAT, VERSION = "darkslim widths", 1
_MOST_CHANNELS = 1 << 20
_MOST_LAYERS = 1 << 16


@dataclass(frozen=True)
class Width:
    """How many of its channels a group of tied layers keeps; tied channels count as one."""

    layers: tuple[int, ...]
    channels: int
    keep: int

    @property
    def name(self) -> str:
        """Its layers, as `4` or `4 7 10`."""
        return " ".join(map(str, self.layers))


@dataclass(frozen=True)
class Widths:
    """The widths of one cfg, of whose text this is the hash; groups that are not here stay whole.

    ranked: by what the channels that go were chosen where these widths were found good. The weights
    are free: the same widths can be tried on another training of the same network.
    """

    cfg_sha256: str
    ranked: Ranked
    groups: tuple[Width, ...]


def write_widths(widths: Widths, path: Path) -> None:
    """Write them, whole; the same widths give the same bytes."""
    write_content({"format": FORMAT, "version": VERSION, **asdict(widths)}, path)


def read_widths(path: str | Path) -> Widths:
    """What `write_widths` wrote. Raises UserError, in one line, for anything else."""
    return read_content(path, "--widths", "widths", "search.py", _widths)


def _widths(content: object) -> Widths:
    fields = of_format(content, "file of widths", FORMAT, VERSION)
    ranked = an_object(fields.get("ranked"), "ranked")
    groups = tuple(_width(each) for each in a_list(fields, "groups", _MOST_LAYERS))
    named = [layer for group in groups for layer in group.layers]
    if not groups:
        fail("groups: there are none")
    if len(set(named)) < len(named):
        fail("groups: name a layer twice")
    return Widths(
        a_hash(fields, "cfg_sha256"),
        Ranked(*(a_word(ranked, key) for key in ("strategy", "importance", "normalize"))),
        groups,
    )


def _width(content: object) -> Width:
    fields = an_object(content, "a group")
    layers = tuple(
        whole(each, "layers", _MOST_LAYERS) for each in a_list(fields, "layers", 1 << 12)
    )
    channels = a_count(fields, "channels", _MOST_CHANNELS)
    keep = a_count(fields, "keep", channels)
    if not layers or not keep:
        fail("groups: one has no layers, or keeps no channel")
    return Width(layers, channels, keep)
