"""Pieces of report pages about a network before and after: cards, pictures of detections."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from html import escape

import cv2

from ...detection.before_after import Shown, usual_or
from ...detection.figures import ModelFigures, are_apart
from ...network.cost import short_count
from ...pictures.detections import Picture

NOTABLE_FALL = 0.02  # of mAP: less is what a small data set moves by on its own
_JPEG_QUALITY = 88


def cards(before: ModelFigures, after: ModelFigures) -> str:
    """The figures that matter most, as large numbers."""
    costs: list[tuple[str, float, float, Callable[[float], str]]] = [
        ("Parameters", before.parameters, after.parameters, short_count),
        ("MACs", before.macs, after.macs, short_count),
        ("File (bytes)", before.file_bytes, after.file_bytes, short_count),
    ]
    if before.latency and after.latency and are_apart(before.latency, after.latency):
        times_ms = before.latency.median_ms, after.latency.median_ms
        costs.append(("Forward (ms)", *times_ms, "{:.2f}".format))
    cards = []
    if before.map50 is not None and after.map50 is not None:
        change = after.map50 - before.map50
        detail = f"before: {before.map50:.3f} ({change:+.3f})"
        cards.append(_card("mAP@.5", f"{after.map50:.3f}", detail, change < -NOTABLE_FALL))
    for name, old, new, form in costs:
        change = 100 * (new - old) / old
        cards.append(_card(name, f"{change:+.1f}%", f"{form(old)} → {form(new)}", change > 0))
    return "\n".join(cards)


def _card(name: str, number: str, detail: str, bad: bool) -> str:
    look = "number bad" if bad else "number"
    return (
        f'<div class="card"><div class="name">{escape(name)}</div>'
        f'<div class="{look}">{escape(number).replace("-", "&minus;")}</div>'
        f'<div class="detail">{escape(detail).replace("-", "&minus;")}</div></div>'
    )


def detections(shown: Sequence[Shown], best_conf: float | None, note: str = "") -> str:
    """Images before and after; `best_conf` is the score from which boxes are shown."""
    parts = []
    for one in shown:
        pictures = "".join(
            f'<figure><img src="{data_uri(seen.picture)}" alt="detections {when}" '
            f'width="{seen.picture.shape[1]}" height="{seen.picture.shape[0]}">'
            f"<figcaption>{when}: {seen.said(one.targets)}</figcaption></figure>"
            for when, seen in (("before", one.before), ("after", one.after))
        )
        name = escape(one.name)
        parts.append(f'<div class="pair"><h3>{name}</h3><div class="two">{pictures}</div></div>')
    said = (
        f"<p>Validation images; boxes of a score from {usual_or(best_conf):.3f} on, where the F1 "
        "of the network before is best; dashed: the labels. An object is met by a box of its class "
        f"with an IoU of .5. {escape(note)}</p>"
    )
    return f'{said}<div class="pairs">{"".join(parts)}</div>'


def data_uri(picture: Picture) -> str:
    """An RGB picture as a JPEG inside a page."""
    done, coded = cv2.imencode(
        ".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    if not done:
        raise ValueError("the picture cannot be encoded")
    return f"data:image/jpeg;base64,{base64.b64encode(coded.tobytes()).decode('ascii')}"
