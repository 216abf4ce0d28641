"""The report of a prune: report.json for programs, report.html for people.

The page holds everything in itself (pictures included) and runs no script, so that it can be mailed
and opens anywhere.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...command.folders import whole_folder
from ...detection.before_after import Shown, usual_or
from ...detection.figures import ModelFigures, are_apart, comparison_rows
from ...pictures.charts import inline_svg
from ...pictures.detections import Picture
from ..options import PruneOptions
from ..plan import PrunePlan, Values
from ..recalibrate import Recalibration
from ..sweeps.chart import sweep_chart
from ..sweeps.curve import Sweep, sweep_rows
from .charts import LayerBar, ScoreGroups, channels_chart, scores_chart
from .page_style import PAGE, STYLE
from .record import layer_rows, make_record
from .result import Pruned

JSON_NAME, HTML_NAME = "report.json", "report.html"
NOTABLE_FALL = 0.02  # of mAP: less is what a small data set moves by on its own
_JPEG_QUALITY = 88
_HASH_LENGTH = 64  # of sha256 in hex


def write_report(
    folder: str | Path,
    pruned: Pruned,
    options: PruneOptions,
    shown: Sequence[Shown] = (),
    force: bool = False,
) -> Path:
    """Write report.json and report.html into `folder`, both or neither; the page's path.

    Raises UserError when the folder holds something already, unless `force` is given.
    """
    record = make_record(pruned, options)
    with whole_folder(folder, "--report", force) as fresh:
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
        (fresh / JSON_NAME).write_text(text + "\n", encoding="utf-8")
        (fresh / HTML_NAME).write_text(render(pruned, record, shown), encoding="utf-8")
    return Path(folder) / HTML_NAME


def render(pruned: Pruned, record: Mapping[str, Any], shown: Sequence[Shown] = ()) -> str:
    """The page's text."""
    title = Path(record["outputs"]["cfg"]["path"]).name
    sections = [
        _section("Before and after", _comparison(pruned)),
        _section("Channels per layer", _channels(pruned.plan)),
        _section("Which channels go", _scores(pruned)),
    ]
    if pruned.plan.dropped:
        sections.append(_section("Residual blocks removed", _blocks(record["removed_blocks"])))
    if pruned.sweep is not None:
        sections.append(_section("Sweep", _sweep(pruned.sweep)))
    if shown:
        sections.append(
            _section("Detections before and after", _detections(shown, pruned.before.best_conf))
        )
    sections.append(_section("Proof", _proof(record["proof"], pruned.recalibration)))
    sections.append(_section("Made from", _provenance(record)))
    return PAGE.format(
        title=escape(title),
        style=STYLE,
        command=" ".join(f"<span>{escape(word)}</span>" for word in record["command"].split(" ")),
        created=escape(record["created"].replace("T", " ").replace("+00:00", " UTC")),
        cards=_cards(pruned.before, pruned.after),
        sections="\n".join(sections),
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{body}\n</section>"


def _cards(before: ModelFigures, after: ModelFigures) -> str:
    """The figures that matter most, as large numbers."""
    costs: list[tuple[str, float, float, Callable[[float], str]]] = [
        ("Parameters", before.parameters, after.parameters, _short),
        ("MACs", before.macs, after.macs, _short),
        ("File (bytes)", before.file_bytes, after.file_bytes, _short),
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


def _short(count: float) -> str:
    """A large number in three digits or four: `70.5 M`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f}"


def _card(name: str, number: str, detail: str, bad: bool) -> str:
    look = "number bad" if bad else "number"
    return (
        f'<div class="card"><div class="name">{escape(name)}</div>'
        f'<div class="{look}">{escape(number).replace("-", "&minus;")}</div>'
        f'<div class="detail">{escape(detail).replace("-", "&minus;")}</div></div>'
    )


def _comparison(pruned: Pruned) -> str:
    note = (
        "<p>Forward: one image, median of warm runs in PyTorch on the machine that pruned; in "
        "brackets the range of 8 runs in 10. mAP is that of the pruned weights as they are: "
        "finetuning comes after.</p>"
    )
    if pruned.latency is not None:
        note += f"<p>{escape(str(pruned.latency))}.</p>"
    return _beside(_table(comparison_rows(pruned.before, pruned.after)), note)


def _channels(plan: PrunePlan) -> str:
    rows = layer_rows(plan)
    bars = [
        LayerBar(
            row["layer"],
            row["before"],
            row["after"],
            row["layer"] in plan.stand_in,
            f"layer {row['layer']}: {row['before']} to {row['after']}"
            + (f" ({row['reason']})" if row["reason"] else ""),
        )
        for row in rows
    ]
    titles = {f"layer-{bar.index}": bar.said for bar in bars}
    chart = inline_svg(channels_chart(bars), "channels per layer before and after", titles)
    before, after = (sum(row[key] for row in rows) for key in ("before", "after"))
    cells = [["layer", "kind", "before", "after", "cannot go because"]]
    cells += [
        [str(row[key]) for key in ("layer", "kind", "before", "after", "reason")] for row in rows
    ]
    said = f"{before - after:,} of {before:,} channels go ({(before - after) / before:.1%})."
    details = f"<details><summary>Every layer</summary>{_table(cells, numbers=(0, 2, 3))}</details>"
    return _figure(chart, said) + details


def _scores(pruned: Pruned) -> str:
    groups = score_groups(pruned)
    said = "Each channel once, by its score: the lower, the less the network would miss it."
    if pruned.chooser.strategy.channels is None:
        said += " Whole blocks go by the mean of their last convolution."
    else:
        said += (
            " Channels below the threshold are held where a better one is tied to them, or where a"
            " floor or a multiple to keep wants them."
        )
    return _figure(inline_svg(scores_chart(groups), "histogram of the channels' scores"), said)


def score_groups(pruned: Pruned) -> ScoreGroups:
    """The scores of all channels, split by what happens to them."""
    plan, by_channel = pruned.plan, pruned.chooser.strategy.channels is not None
    parts: dict[str, list[Values]] = {
        "removed": [],
        "with_block": [],
        "kept": [],
        "held": [],
        "fixed": [],
    }
    for index, scores in pruned.chooser.scores.items():
        if index in plan.stand_in:
            parts["with_block"].append(scores)
            continue
        stays = plan.keep[plan.graph.issued[index]]
        nobody = np.full(len(scores), not by_channel)
        free = plan.candidates.prunable.get(index, nobody)
        parts["removed"].append(scores[~stays])
        below = scores < plan.threshold if by_channel else np.zeros(len(scores), bool)
        parts["kept"].append(scores[stays & free & ~below])
        parts["held"].append(scores[stays & free & below])
        parts["fixed"].append(scores[stays & ~free])
    joined = {name: np.concatenate([np.empty(0), *found]) for name, found in parts.items()}
    threshold = plan.threshold if by_channel else None
    return ScoreGroups(name=pruned.chooser.importance, threshold=threshold, **joined)


def _blocks(blocks: Sequence[Mapping[str, Any]]) -> str:
    rows = [["shortcut", "layers that go", "read instead", "mean score"]]
    rows += [
        [
            str(block["shortcut"]),
            f"{block['layers'][0]} to {block['layers'][1]}",
            f"layer {block['replaced_by']}",
            f"{block['score']:.6f}",
        ]
        for block in blocks
    ]
    return _table(rows)


def _sweep(sweep: Sweep) -> str:
    chart = inline_svg(sweep_chart(sweep), f"mAP, parameters and MACs against the {sweep.unit}")
    said = " ".join(f"{line}." for line in sweep.verdict().splitlines())
    rows = sweep_rows(sweep)
    numbers = tuple(range(len(rows[0]) - 1))
    table = _table(rows, numbers=numbers)
    return _figure(chart, said) + f"<details><summary>Every point</summary>{table}</details>"


def _detections(shown: Sequence[Shown], best_conf: float | None) -> str:
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
    note = (
        f"<p>Validation images; boxes of a score from {usual_or(best_conf):.3f} on, where the F1 "
        "of the network before is best; dashed: the labels. An object is met by a box of its class "
        "with an IoU of .5. Right after pruning, scores are lower than they will be after "
        "finetuning.</p>"
    )
    return f'{note}<div class="pairs">{"".join(parts)}</div>'


def data_uri(picture: Picture) -> str:
    """An RGB picture as a JPEG inside a page."""
    done, coded = cv2.imencode(
        ".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    if not done:
        raise ValueError("the picture cannot be encoded")
    return f"data:image/jpeg;base64,{base64.b64encode(coded.tobytes()).decode('ascii')}"


def _proof(proof: Mapping[str, Any], recalibration: Recalibration | None) -> str:
    after = f"<p>{escape(str(recalibration))}.</p>" if recalibration else ""
    said = (
        f"<p>Before anything was written, all {proof['layers']} layers of the pruned network were "
        "compared in float64 with the network as it was, with the removed channels' gammas set to "
        "0. Differences are relative to the largest value of a layer; above "
        f"{proof['tolerance']:.0e} nothing is written.</p>"
        "<p>The last line is no error of the cut: at the image's border a constant meets the "
        "padding, which folding cannot follow.</p>"
    )
    rows = [
        ["compared", "largest difference"],
        ["with the masked network, constants folded", f"{proof['masked']:.1e}"],
        ["with the folded network at full size", f"{proof['folded']:.1e}"],
        ["heads, where zero padding meets folded constants", f"{proof['border']:.1e}"],
    ]
    return _beside(_table(rows), said + after)


def _provenance(record: Mapping[str, Any]) -> str:
    rows = [["file", "path", "sha256"]]
    for kind in ("inputs", "outputs"):
        rows += [
            [f"{what} ({kind[:-1]})", file["path"], file["sha256"]]
            for what, file in record[kind].items()
        ]
    seed = "none needed" if record["seed"] is None else str(record["seed"])
    versions = [["", "version"], *([k, v] for k, v in record["versions"].items()), ["seed", seed]]
    return f'<div class="wide">{_table(rows, numbers=(), code=(1, 2))}</div>' + _table(
        versions, numbers=()
    )


def _beside(table: str, text: str) -> str:
    return f'<div class="beside"><div>{table}</div><div>{text}</div></div>'


def _figure(chart: str, caption: str) -> str:
    return f'<figure class="chart">{chart}<figcaption>{escape(caption)}</figcaption></figure>'


def _table(
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
