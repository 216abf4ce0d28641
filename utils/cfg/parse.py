"""Text of a Darknet cfg <-> `Cfg`, without losing a byte.

The rules are Darknet's own (white space anywhere in a line means nothing, the first `=` splits key
from value, the first of duplicate keys wins), with three decisions of ours: an inline `# comment`
ends a value, a number that does not parse is an error, and so is a value that is missing where the
section needs one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from ..command.files import atomic_write, require_file, require_settled
from .errors import CfgError

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T", int, float)

LARGEST_CFG_BYTES = 16 << 20  # the largest cfg of the zoo has 30 KB

SYNONYMS = {
    "network": "net",
    "conv": "convolutional",
    "conn": "connected",
    "max": "maxpool",
    "avg": "avgpool",
    "local_avg": "local_avgpool",
    "soft": "softmax",
    "lrn": "normalization",
    "silence": "empty",
}


@dataclass(frozen=True)
class Line:
    """One line as it stands (`text`, line ending included) and what it says, if it sets a key."""

    text: str
    number: int  # 1-based; that of the neighbour for a line an edit added
    key: str = ""
    value: str = ""


@dataclass(frozen=True)
class Section:
    """`[kind]` and its lines; `kind` is the canonical name of Darknet's synonyms."""

    kind: str
    lines: tuple[Line, ...]  # the header first
    source: str

    @cached_property
    def options(self) -> dict[str, Line]:
        """The line that sets each key: the first one, as in Darknet."""
        found: dict[str, Line] = {}
        for line in self.lines[1:]:
            if line.key:
                found.setdefault(line.key, line)
        return found

    def has(self, key: str) -> bool:
        """Whether the section sets `key`."""
        return key in self.options

    def where(self, key: str = "") -> str:
        """`file:line` of a key, or of the section's header."""
        line = self.options.get(key, self.lines[0])
        return f"{self.source}:{line.number}"

    def error(self, message: str, key: str = "") -> CfgError:
        """An error about this section, ready to raise."""
        subject = f"[{self.kind}] {key}".rstrip()
        return CfgError(f"{self.where(key)}: {subject}: {message}")

    def text(self, key: str, default: str = "") -> str:
        """Value of a key as text, white space removed."""
        line = self.options.get(key)
        return line.value if line else default

    def integer(self, key: str, default: int = 0) -> int:
        """Value of a key as an int; CfgError when it is not one."""
        line = self.options.get(key)
        return self._number(line.value, key, int) if line else default

    def number(self, key: str, default: float = 0.0) -> float:
        """Value of a key as a float; CfgError when it is not one."""
        line = self.options.get(key)
        return self._number(line.value, key, float) if line else default

    def flag(self, key: str, default: bool = False) -> bool:
        """Whether a switch (`pad=1`, `batch_normalize=1`) is on."""
        return self.integer(key, int(default)) != 0

    def integers(self, key: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Comma-separated ints."""
        line = self.options.get(key)
        return self._numbers(line.value, key, int) if line else default

    def numbers(self, key: str, default: tuple[float, ...] = ()) -> tuple[float, ...]:
        """Comma-separated floats."""
        line = self.options.get(key)
        return self._numbers(line.value, key, float) if line else default

    def _numbers(self, text: str, key: str, kind: Callable[[str], _T]) -> tuple[_T, ...]:
        parts = text.split(",")
        if parts[-1] == "":
            parts.pop()  # anchors often end in a comma
        return tuple(self._number(part, key, kind) for part in parts)

    def _number(self, text: str, key: str, kind: Callable[[str], _T]) -> _T:
        try:
            value = kind(text)
            if "_" in text or not text.isascii() or value != value or abs(value) == float("inf"):
                raise ValueError
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise self.error(f"expected {wanted}, got '{text}'", key) from None
        return value


@dataclass(frozen=True)
class Cfg:
    """A network as text: `[net]` and the layers in order (a layer's index is its position)."""

    net: Section
    layers: tuple[Section, ...]
    preamble: tuple[Line, ...] = ()  # comments before the first section
    source: str = "<text>"


def load_cfg(path: str | Path) -> Cfg:
    """Parse a file. Raises CfgError (or UserError for a file that cannot be read)."""
    found = require_file(path, "the cfg")
    require_settled(found)
    if found.stat().st_size > LARGEST_CFG_BYTES:
        raise CfgError(f"{found}: {found.stat().st_size} bytes is too large for a cfg; is it one?")
    data = found.read_bytes()
    if b"\0" in data:
        raise CfgError(f"{found}: holds binary data; a cfg is a text file (weights by mistake?)")
    # Comments may be in any encoding: surrogateescape keeps their bytes for the way back.
    return parse_cfg(data.decode("utf-8", "surrogateescape"), str(path))


def parse_cfg(text: str, source: str = "<text>") -> Cfg:
    """Parse cfg text; `source` names it in errors. `format_cfg` gives the same text back."""
    preamble: list[Line] = []
    lines = preamble
    groups: list[tuple[str, list[Line]]] = []
    for number, raw in enumerate(re.findall(r"[^\n]*\n|[^\n]+", text), 1):
        bare = _without_space(raw)
        if bare.startswith("["):
            kind = _section_kind(bare, f"{source}:{number}")
            lines = [Line(raw, number)]
            groups.append((kind, lines))
        elif bare == "" or bare[0] in "#;":
            lines.append(Line(raw, number))
        else:
            if not groups:
                raise CfgError(f"{source}:{number}: '{bare[:40]}' stands before the first section")
            lines.append(_option(raw, bare, number, source))
    sections = [Section(kind, tuple(found), source) for kind, found in groups]
    if not sections:
        raise CfgError(f"{source}: no sections; a cfg starts with [net]")
    if sections[0].kind != "net":
        raise sections[0].error("the first section must be [net]")
    for section in sections:
        _warn_about_duplicates(section)
    return Cfg(sections[0], tuple(sections[1:]), tuple(preamble), source)


def format_cfg(cfg: Cfg) -> str:
    """The cfg as text."""
    parts = [line.text for line in cfg.preamble]
    for section in (cfg.net, *cfg.layers):
        # A section that an edit moved may follow one whose last line had no line ending.
        if parts and not parts[-1].endswith(("\n", "\r")):
            parts.append("\n")
        parts.extend(line.text for line in section.lines)
    return "".join(parts)


def plain_text(cfg: Cfg) -> str:
    """The cfg in the form that every runtime reads: `key=value`, LF, no BOM, no inline comment.

    Comment lines stay; what is not ASCII becomes '?'.
    """
    lines: list[str] = []
    for section in (cfg.net, *cfg.layers):
        lines.extend(_plain_line(line) for line in (cfg.preamble if section is cfg.net else ()))
        lines.append(f"[{section.kind}]")
        lines.extend(_plain_line(line) for line in section.lines[1:])
    return "\n".join(lines).rstrip("\n") + "\n"


def _plain_line(line: Line) -> str:
    text = f"{line.key}={line.value}" if line.key else line.text.lstrip("\ufeff").strip()
    if not (line.key or text[:1] in ("#", ";")):
        return ""
    # To some readers a lone carriage return or form feed, in a comment say, ends the line.
    return " ".join(text.encode("ascii", "replace").decode().splitlines())


def save_cfg(cfg: Cfg, path: str | Path) -> None:
    """Write `plain_text` of the cfg, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(plain_text(cfg).encode("ascii"))


def replace_layers(cfg: Cfg, changed: dict[int, Section]) -> Cfg:
    """The cfg with some layers' sections exchanged."""
    layers = tuple(changed.get(i, section) for i, section in enumerate(cfg.layers))
    return replace(cfg, layers=layers)


def with_net(cfg: Cfg, net: Section) -> Cfg:
    """The cfg with another `[net]` section."""
    return replace(cfg, net=net)


def _without_space(raw: str) -> str:
    return "".join(raw.lstrip("\ufeff").split())


def _section_kind(bare: str, where: str) -> str:
    end = bare.find("]")
    if end < 0 or (bare[end + 1 :] and bare[end + 1] not in "#;"):
        raise CfgError(f"{where}: '{bare[:40]}' is not a section header; write [name]")
    name = bare[1:end]
    return SYNONYMS.get(name, name)


def _option(raw: str, bare: str, number: int, source: str) -> Line:
    key, equals, value = bare.partition("=")
    value = value.split("#", 1)[0]
    if not equals:
        _LOG.warning("%s:%d: '%s' has no '=': ignored", source, number, bare[:40])
        return Line(raw, number)
    if not value:
        _LOG.warning("%s:%d: '%s' has no value: ignored", source, number, key[:40])
        return Line(raw, number)
    return Line(raw, number, key, value)


def _warn_about_duplicates(section: Section) -> None:
    for line in section.lines[1:]:
        first = section.options.get(line.key)
        if first is not None and first is not line:
            _LOG.warning(
                "%s:%d: [%s] %s is set again; line %d counts",
                section.source, line.number, section.kind, line.key, first.number,
            )  # fmt: skip
