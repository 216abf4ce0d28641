"""Edits of one section that leave its other lines, comments and order as they are."""

from __future__ import annotations

from dataclasses import replace

from .parse import Line, Section, parse_cfg


def set_option(section: Section, key: str, value: str | int) -> Section:
    """The section with `key=value`: in the key's place, or after the last option."""
    lines = list(section.lines)
    present = section.options.get(key)
    if present is not None:
        lines[_position(lines, present)] = _with_value(present, str(value))
        return replace(section, lines=tuple(lines))
    last = max(i for i, line in enumerate(lines) if i == 0 or line.key)
    ending = "\r\n" if lines[0].text.endswith("\r\n") else "\n"
    if not lines[last].text.endswith("\n"):
        lines[last] = replace(lines[last], text=lines[last].text + ending)
    added = Line(f"{key}={value}{ending}", lines[last].number, key, str(value))
    lines.insert(last + 1, added)
    return replace(section, lines=tuple(lines))


def remove_option(section: Section, key: str) -> Section:
    """The section without any line that sets `key`."""
    return replace(section, lines=tuple(line for line in section.lines if line.key != key))


def new_section(kind: str, source: str, number: int, **options: str | int) -> Section:
    """A fresh section for an edit at line `number` of `source`; options in the order given."""
    body = "".join(f"{key}={value}\n" for key, value in options.items())
    parsed = parse_cfg(f"[net]\n[{kind}]\n{body}\n").layers[0]
    lines = tuple(replace(line, number=number) for line in parsed.lines)
    return replace(parsed, lines=lines, source=source)


def _position(lines: list[Line], wanted: Line) -> int:
    return next(i for i, line in enumerate(lines) if line is wanted)


def _with_value(line: Line, value: str) -> Line:
    """The line with another value; what stands before it and a comment behind it stay."""
    before, _, after = line.text.partition("=")
    old, hash_sign, comment = after.partition("#")
    lead = old[: len(old) - len(old.lstrip())]
    tail = old[len(old.rstrip()) :]
    return replace(line, text=f"{before}={lead}{value}{tail}{hash_sign}{comment}", value=value)
