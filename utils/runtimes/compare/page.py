"""A comparison as a page: the picture, the table, and what could not be measured."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ...pictures.charts import inline_svg
from ...pictures.page import figure, page, section, table
from .chart import comparison_chart
from .options import Clock
from .results import Row, cells, failed, verdict

_NOTE = (
    "One image at a time, warm, the forward pass alone; the models of a runtime were timed in "
    "turns. CPU ms is the processor time of a pass over all threads, which other work on the "
    "machine hardly touches. Peak MB is by how much a process grew."
)


def comparison_page(
    rows: Sequence[Row], clock: Clock, command: Sequence[str], created: str, machine: str
) -> str:
    """The page's text. `machine` says what it was measured on."""
    parts = []
    chart = comparison_chart(rows, clock)
    if chart is not None:
        said = verdict(rows) or "Left is faster and smaller, up is better."
        svg = inline_svg(chart, "mAP against latency and against the size of the file")
        parts.append(section("mAP, time and size", figure(svg, said)))
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in (_NOTE, machine))
    numbers = tuple(range(2, len(cells(rows)[0])))
    body = f'<div class="wide">{table(cells(rows), numbers=numbers)}</div>{paragraphs}'
    parts.append(section("Each model in each runtime", body))
    if failed(rows):
        lines = "".join(f"<li>{escape(line)}</li>" for line in failed(rows))
        parts.append(section("Not measured", f"<ul>{lines}</ul>"))
    names = dict.fromkeys(row.candidate.name for row in rows)
    return page(", ".join(names), command, created, parts, kind="comparison")
