"""The page of a sensitivity: what it is about, its heat map, its curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from ...pictures.charts import inline_svg
from ...pictures.page import page, section
from ..sensitivity.record import DROPS, Curve, Point, Sensitivity
from .sensitivity_charts import curves_chart

LIMITS = (0.005, 0.01, 0.02)  # drops for which the table says what may go
_DARK = 0.55  # from which share of the full colour on letters are white
_RED = (197, 48, 48)


def sensitivity_page(
    found: Sensitivity, title: str, command: Sequence[str], created: str, said: Sequence[str]
) -> str:
    """The page's text; `said` are sentences about the whole, one paragraph each."""
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in said)
    curves = inline_svg(curves_chart(found), "drop of each group against the share that is gone")
    parts = [
        ("What each group costs", f"{paragraphs}\n{_heat_map(found)}"),
        ("Curves", f'<figure class="chart">{curves}</figure>'),
    ]
    return page(title, command, created, [section(name, body) for name, body in parts])


def _heat_map(found: Sensitivity) -> str:
    """Groups by shares, each cell coloured by its drop; then what may go for LIMITS."""
    largest = max((point.drop for curve in found.curves for point in curve.points), default=0.0)
    heads = ["layers", "channels", *(f"{share:.0%}" for share in found.shares)]
    heads += [f"may go at {limit:g}" for limit in LIMITS]
    head = "".join(f'<th class="n">{each}</th>' for each in heads)
    rows = "\n".join(f"<tr>{''.join(_cells(found, curve, largest))}</tr>" for curve in found.curves)
    note = (
        f"<p>{DROPS[found.measure].capitalize()} when this group alone loses that share of its "
        "channels; the darker, the more (by the square root, so that small drops show). A dash: "
        "no channel of the group would go. To the right: channels that may go within a drop.</p>"
    )
    table = f"<table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>"
    return f'<div class="wide">{table}</div>{note}'


def _cells(found: Sensitivity, curve: Curve, largest: float) -> Iterator[str]:
    yield f"<td>{curve.name}</td>"
    yield f'<td class="n">{curve.channels}</td>'
    by_share = {point.share: point for point in curve.points}
    for share in found.shares:
        yield _heated(by_share.get(share), largest)
    for limit in LIMITS:
        most = curve.most_gone(limit)
        yield f'<td class="n">{most} ({most / curve.channels:.0%})</td>'


def _heated(point: Point | None, largest: float) -> str:
    if point is None or not point.gone:
        return '<td class="n">-</td>'
    heat = math.sqrt(max(0.0, point.drop) / largest) if largest > 0 else 0.0
    red, green, blue = (round(255 + (part - 255) * heat) for part in _RED)
    ink = "#fff" if heat > _DARK else "inherit"
    style = f"background:rgb({red},{green},{blue});color:{ink};padding-right:8px"
    return f'<td class="n" style="{style}">{point.drop:.3f}</td>'
