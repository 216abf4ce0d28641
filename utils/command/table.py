"""Rows as a table for the terminal: the one place that knows how tables are printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(
    rows: Sequence[Sequence[str]],
    right: Iterable[int] = (),
    *,
    title: str | None = None,
    framed: bool = True,
) -> str:
    """Rows, the first being the header, as text; the columns `right` are aligned to the right.

    Without a frame, lines have no spaces at their ends.
    """
    from terminaltables import AsciiTable  # here, so that --help needs no package

    drawn = AsciiTable([list(row) for row in rows], title)
    drawn.justify_columns = dict.fromkeys(right, "right")
    if framed:
        return str(drawn.table)
    drawn.outer_border = False
    return "\n".join(line.rstrip() for line in str(drawn.table).splitlines())
