"""Darknet cfg files: parse, format, edit. `format_cfg(parse_cfg(text)) == text`."""

from __future__ import annotations

from .drop import drop_layers
from .edit import new_section, remove_option, set_option
from .errors import CfgError
from .notes import read_note, with_note, without_note
from .parse import (
    Cfg,
    Line,
    Section,
    format_cfg,
    load_cfg,
    parse_cfg,
    plain_text,
    replace_layers,
    save_cfg,
    with_net,
)
from .references import REFERENCE_KEYS, reads_previous, references, renumber
from .splice import Expansion, splice_layers

__all__ = [
    "REFERENCE_KEYS",
    "Cfg",
    "CfgError",
    "Expansion",
    "Line",
    "Section",
    "drop_layers",
    "format_cfg",
    "load_cfg",
    "new_section",
    "parse_cfg",
    "plain_text",
    "read_note",
    "reads_previous",
    "references",
    "remove_option",
    "renumber",
    "replace_layers",
    "save_cfg",
    "set_option",
    "splice_layers",
    "with_net",
    "with_note",
    "without_note",
]
