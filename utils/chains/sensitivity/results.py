"""What a run of sensitivity.py leaves in its folder, and what it says."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from ...command.files import atomic_write
from ...command.table import table
from ...command.words.next_step import Words, next_steps
from ...command.words.short_names import run_name
from ...pruning.sensitivity.file import write_sensitivity
from ...pruning.sensitivity.record import DROPS, Sensitivity, spearman
from ..journal import Journal
from .options import SensitivityOptions

_FEWEST = 3  # points whose ranks say something
LIMIT = 0.005  # the --max-layer-drop of the next command
JSON_NAME, CSV_NAME, PNG_NAME, HTML_NAME = (
    "sensitivity.json", "sensitivity.csv", "sensitivity.png", "report.html",
)  # fmt: skip


def write_results(found: Sensitivity, options: SensitivityOptions, journal: Journal) -> None:
    """sensitivity.json, .csv and .png, and report.html: the same bytes for the same figures."""
    from ...pictures.charts import save_png  # matplotlib takes a second to load
    from ...pruning.report.sensitivity_charts import curves_chart
    from ...pruning.report.sensitivity_page import sensitivity_page

    folder = journal.folder
    write_sensitivity(found, folder / JSON_NAME)
    _write_csv(found, folder / CSV_NAME)
    with atomic_write(folder / PNG_NAME) as temporary:
        save_png(curves_chart(found), temporary)
    page = sensitivity_page(
        found,
        f"{run_name(options.inputs.weights)}: sensitivity",
        journal.content["words"],
        journal.content["started"],
        list(summary(found)),
    )
    with atomic_write(folder / HTML_NAME) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _write_csv(found: Sensitivity, path: Path) -> None:
    """All figures, unrounded; an empty cell was not measured."""
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = [*asdict(found.base)]
        writer.writerow(["layers", "channels", "share", "gone", "drop", *names, "predicted"])
        for curve in found.curves:
            for point in curve.points:
                scores = [*asdict(point.scores).values(), point.predicted]
                cells = ["" if value is None else value for value in scores]
                start = [curve.name, curve.channels, point.share, point.gone, point.drop]
                writer.writerow([*start, *cells])


def summary(found: Sensitivity) -> Iterator[str]:
    """What was measured, on what, and how far fast and slow agree, where both are there."""
    base, images = found.base, found.images
    worth = f"loss {base.loss:.3f}" if base.loss is not None else ""
    if base.map50 is not None:
        worth = f"mAP@.5 {base.map50:.3f}, {worth}"
    yield (
        f"{len(found.curves)} groups of layers, {images.count} development images "
        f"({images.share:.0%} of the training list, seed {images.seed}); the uncut network: {worth}"
    )
    yield (
        f"Least important first by {found.ranked.importance}; "
        f"what a drop is: {DROPS[found.measure]}"
    )
    if found.measure != "fast":
        yield from agreement(found)


def agreement(found: Sensitivity) -> Iterator[str]:
    """Rank correlations of the loss that gradients foretell with what was measured."""
    points = [(c, p) for c in found.curves for p in c.points if p.gone and p.predicted is not None]
    foretold = [point.predicted or 0.0 for _, point in points]
    losses = [point.scores.loss or 0.0 for _, point in points]
    between = [
        spearman([p.predicted or 0.0 for p in row], [p.scores.loss or 0.0 for p in row])
        for share in found.shares
        if len(row := [p for _, p in points if p.share == share]) >= _FEWEST
    ]
    between = [value for value in between if not math.isnan(value)]
    if len(points) < _FEWEST:
        yield "Fast against slow: too few points to compare their ranks"
        return
    said = f"Fast against slow, loss (Spearman): {spearman(foretold, losses):.2f} over all points"
    if between:
        said += f", {statistics.mean(between):.2f} between groups at the same share (mean)"
    yield said
    if found.measure == "map":
        drops = [point.drop for _, point in points]
        yield (
            f"Rank correlation with the mAP@.5 lost: fast {spearman(foretold, drops):.2f}, "
            f"slow loss {spearman(losses, drops):.2f}"
        )


def tell(found: Sensitivity, options: SensitivityOptions, journal: Journal) -> None:
    """The table, the summary, the time, the files, and the next command."""
    print(_table(found))
    for line in summary(found):
        print(line)
    print(_times(journal))
    for name in (JSON_NAME, CSV_NAME, PNG_NAME, HTML_NAME):
        print(f"Wrote {journal.folder / name}")
    inputs, size = options.inputs, options.inputs.img_size
    structure: Words = [] if inputs.cfg == inputs.weights else ["--cfg", inputs.cfg]
    ranking: Words = ["--importance", options.ranking.importance]
    at_size: Words = ["--img-size", *size] if size else []
    print(next_steps({
        "prune within these limits": [
            "python", f"{options.script}.py", *structure, "--weights", inputs.weights, "--data",
            options.scoring.data, *at_size, *ranking,
            "--sensitivity", journal.folder / JSON_NAME, "--max-layer-drop", LIMIT,
        ]
    }))  # fmt: skip


def _table(found: Sensitivity) -> str:
    """A row for each group: its drop at some shares, and what may go for LIMIT."""
    shares = found.shares[:: max(1, len(found.shares) // 4)]
    rows = [["layers", "channels", *(f"{share:.0%}" for share in shares), f"may go at {LIMIT:g}"]]
    for curve in found.curves:
        drops = {point.share: point.drop for point in curve.points}
        cells = [f"{drops[share]:.3f}" if share in drops else "" for share in shares]
        rows.append([curve.name, str(curve.channels), *cells, str(curve.most_gone(LIMIT))])
    return table(rows, right=range(1, len(rows[0])))


def _times(journal: Journal) -> str:
    content = journal.content
    said = f"Time: gradients {content['fast_seconds']:.1f} s"
    seconds = [point["seconds"] for point in content.get("points", {}).values()]
    if not seconds:
        return said
    each, whole = sum(seconds) / len(seconds), content["base_seconds"]
    return (
        f"{said}; {len(seconds)} cut networks, {each:.2f} s each, where the uncut one takes "
        f"{whole:.2f} s on the same images ({whole / each:.1f} times as long)"
    )
