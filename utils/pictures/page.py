"""Pages: their frame, sections, tables and charts, as HTML.

A page holds everything in itself (pictures included) and runs no script, so that it can be mailed
and opens anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .page_style import PAGE, STYLE

_HASH_LENGTH = 64  # of sha256 in hex


def page(
    title: str,
    command: Sequence[str],
    created: str,
    sections: Sequence[str],
    cards: str = "",
    kind: str = "pruning report",
) -> str:
    """The whole text of a page; `command` are the words that made it, `created` says when."""
    return PAGE.format(
        title=escape(title),
        kind=escape(kind),
        style=STYLE,
        command=" ".join(f"<span>{escape(word)}</span>" for word in command),
        created=escape(created),
        cards=cards,
        sections="\n".join(sections),
    )


def section(title: str, body: str) -> str:
    """A part of the page with its heading."""
    return f"<section><h2>{escape(title)}</h2>\n{body}\n</section>"


def beside(table: str, text: str) -> str:
    """A table with text to its right, or below it on a narrow screen."""
    return f'<div class="beside"><div>{table}</div><div>{text}</div></div>'


def figure(chart: str, caption: str) -> str:
    """A chart with words below it."""
    return f'<figure class="chart">{chart}<figcaption>{escape(caption)}</figcaption></figure>'


def table(
    rows: Sequence[Sequence[str]],
    numbers: Sequence[int] | None = None,
    code: Sequence[int] = (),
) -> str:
    """An HTML table; the first row holds the heads. Columns `numbers` (all but the first, unless
    given) stand to the right, columns `code` in a font of even width."""
    right = range(1, len(rows[0])) if numbers is None else numbers
    head = "".join(_cell("th", text, k in right) for k, text in enumerate(rows[0]))
    body = "".join(
        "<tr>"
        + "".join(_cell("td", text, k in right, k in code) for k, text in enumerate(row))
        + "</tr>\n"
        for row in rows[1:]
    )
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"


def _cell(tag: str, text: str, right: bool, code: bool = False) -> str:
    look = ' class="n"' if right else ""
    mark = ' class="hash"' if len(text) == _HASH_LENGTH else ""
    inner = f"<code{mark}>{escape(text)}</code>" if code else escape(text)
    return f"<{tag}{look}>{inner}</{tag}>"
