"""A page about a finished model: from the network at the start to the one that is handed over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from html import escape
from pathlib import Path

from ...command.files import alone, sha256
from ...command.folders import require_free, whole_folder
from ...command.words.short_names import short_names
from ...detection.before_after import compare_detections, usual_or
from ...detection.figures import ModelFigures, figures, latencies, shown_latency
from ...detection.options import Inputs
from ...network.cfg_of import read_cfg
from ...network.cost import short_count
from ...network.darknet import Build, Network
from ...network.weights import require_usable
from ...pictures.charts import inline_svg
from ...pictures.page import figure, page, section, table
from .chain_options import ChainOptions
from .charts import Stage, stages_chart
from .parts import cards, detections

HTML_NAME = "report.html"


def write_chain(options: ChainOptions, build: Build, command: Sequence[str] = ()) -> Path:
    """Measure the models, in turns, and write the page; its path.

    Raises UserError for files that do not fit each other or the data, and for a folder that is not
    free, or that another command is at work on.
    """
    require_free(options.output, "--output", options.force)
    with alone(options.output):
        text = _measured(options, build, command)
        with whole_folder(options.output, "--output", options.force) as fresh:
            (fresh / HTML_NAME).write_text(text, encoding="utf-8")
    return Path(options.output) / HTML_NAME


def _measured(options: ChainOptions, build: Build, command: Sequence[str]) -> str:
    """The page's text."""
    networks = [_opened(model, build) for model in options.models]
    names = short_names([model.weights for model in options.models])
    times = latencies(networks, options.scoring)
    found = [
        figures(network, options.scoring, False, latency)
        for network, latency in zip(networks, times, strict=True)
    ]
    stages = list(zip(names, found, strict=True))
    parts = [section("From the first network to the last", _table(stages))]
    if options.scoring.data:
        points = [Stage(name, each.parameters, each.map50 or 0.0) for name, each in stages]
        chart = inline_svg(stages_chart(points), "mAP against parameters, stage by stage")
        parts.append(section("What each step did", figure(chart, "Left is smaller, up is better.")))
        # The whole line; and its last step, which after a cut is the finetuning.
        for first in dict.fromkeys((0, len(networks) - 2)):
            conf = usual_or(found[first].best_conf)
            shown = compare_detections(networks[first], networks[-1], options.scoring, conf)
            title = f"Detections of {names[first]} and {names[-1]}"
            parts.append(section(title, detections(shown, found[first].best_conf)))
    if options.decided:
        lines = "".join(f"<li>{escape(line)}</li>" for line in options.decided)
        parts.insert(1, section("What was decided, and why", f"<ul>{lines}</ul>"))
    parts.append(section("Made from", _files(options)))
    created = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    title = f"{names[0]} to {names[-1]}"
    return page(title, command, created, parts, cards(found[0], found[-1]))


def _opened(model: Inputs, build: Build) -> Network:
    network: Network = build(read_cfg(model.cfg), model.img_size, weights=model.weights)
    require_usable(network.state_dict(), model.weights)
    return network


def _table(stages: Sequence[tuple[str, ModelFigures]]) -> str:
    first = stages[0][1]
    rows = [["model", "parameters", "MACs", "file", "mAP@.5", "mAP@.5:.95", "forward (ms)"]]
    for name, each in stages:
        share = each.parameters / first.parameters
        rows.append([
            name,
            f"{short_count(each.parameters)} ({share:.0%})",
            short_count(each.macs),
            f"{short_count(each.file_bytes)}B",
            *("-" if value is None else f"{value:.3f}" for value in (each.map50, each.map)),
            shown_latency(each.latency) if each.latency else "-",
        ])  # fmt: skip
    note = (
        "<p>Forward: one image in PyTorch on the machine that made this page, the models in turns; "
        "the median of warm runs, and the range of 8 in 10.</p>"
    )
    return f'<div class="wide">{table(rows)}</div>{note}'


def _files(options: ChainOptions) -> str:
    rows = [["model", "path", "sha256"]]
    names = short_names([model.weights for model in options.models])
    for name, model in zip(names, options.models, strict=True):
        paths = dict.fromkeys((model.cfg, model.weights))
        rows += [[name, path, sha256(path)] for path in paths]
    return f'<div class="wide">{table(rows, numbers=(), code=(1, 2))}</div>'
