"""The report of a prune: report.json for programs, report.html for people.

The page holds everything in itself (pictures included) and runs no script, so that it can be mailed
and opens anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ...command.folders import whole_folder
from ...detection.before_after import Shown
from ...detection.figures import comparison_rows
from ...pictures.charts import inline_svg
from ...pictures.page import beside, figure, page, section, table
from ..options import PruneOptions
from ..plan import PrunePlan, Values
from ..recalibrate import Recalibration
from ..sweeps.chart import sweep_chart
from ..sweeps.curve import Sweep, sweep_rows
from .charts import LayerBar, ScoreGroups, channels_chart, scores_chart
from .parts import cards, detections
from .record import layer_rows, make_record
from .result import Pruned

_AT_THE_CUT = (
    "Right after pruning, scores are lower than they will be after finetuning; report.py makes a "
    "page about the finetuned model."
)
JSON_NAME, HTML_NAME = "report.json", "report.html"


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
        section("Before and after", _comparison(pruned)),
        section("Channels per layer", _channels(pruned.plan)),
        section("Which channels go", _scores(pruned)),
    ]
    if pruned.plan.dropped:
        sections.append(section("Residual blocks removed", _blocks(record["removed_blocks"])))
    if pruned.sweep is not None:
        sections.append(section("Sweep", _sweep(pruned.sweep)))
    if shown:
        sections.append(
            section(
                "Detections before and after",
                detections(shown, pruned.before.best_conf, _AT_THE_CUT),
            )
        )
    sections.append(section("Proof", _proof(record["proof"], pruned.recalibration)))
    sections.append(section("Made from", _provenance(record)))
    created = record["created"].replace("T", " ").replace("+00:00", " UTC")
    shown_first = cards(pruned.before, pruned.after)
    return page(title, record["command"].split(" "), created, sections, shown_first)


def _comparison(pruned: Pruned) -> str:
    note = (
        "<p>Forward: one image, median of warm runs in PyTorch on the machine that pruned; in "
        "brackets the range of 8 runs in 10. mAP is that of the pruned weights as they are: "
        "finetuning comes after.</p>"
    )
    if pruned.latency is not None:
        note += f"<p>{escape(str(pruned.latency))}.</p>"
    return beside(table(comparison_rows(pruned.before, pruned.after)), note)


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
    said += f" {escape(plan.cost_of_form)}." if plan.cost_of_form else ""
    details = f"<details><summary>Every layer</summary>{table(cells, numbers=(0, 2, 3))}</details>"
    return figure(chart, said) + details


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
    return figure(inline_svg(scores_chart(groups), "histogram of the channels' scores"), said)


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
    return table(rows)


def _sweep(sweep: Sweep) -> str:
    chart = inline_svg(sweep_chart(sweep), f"mAP, parameters and MACs against the {sweep.unit}")
    said = " ".join(f"{line}." for line in sweep.verdict().splitlines())
    rows = sweep_rows(sweep)
    numbers = tuple(range(len(rows[0]) - 1))
    points = table(rows, numbers=numbers)
    return figure(chart, said) + f"<details><summary>Every point</summary>{points}</details>"


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
    return beside(table(rows), said + after)


def _provenance(record: Mapping[str, Any]) -> str:
    rows = [["file", "path", "sha256"]]
    for kind in ("inputs", "outputs"):
        rows += [
            [f"{what} ({kind[:-1]})", file["path"], file["sha256"]]
            for what, file in record[kind].items()
        ]
    seed = "none needed" if record["seed"] is None else str(record["seed"])
    versions = [["", "version"], *([k, v] for k, v in record["versions"].items()), ["seed", seed]]
    return f'<div class="wide">{table(rows, numbers=(), code=(1, 2))}</div>' + table(
        versions, numbers=()
    )
