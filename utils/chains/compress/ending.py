"""What a compression hands over: the pair, exports, a recipe, a page, and a table of its worth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from ...command.files import atomic_write
from ...command.machine.timing import time_alternately_ms
from ...command.table import table
from ...command.words.next_step import next_steps
from ...detection.figures import ModelFigures, shown_latency
from ...detection.options import Inputs, Scoring
from ...network.cost import short_count
from ...pruning.report.chain import write_chain
from ...pruning.report.chain_options import ChainOptions
from ...runtimes.export.options import ExportOptions
from ...runtimes.export.run import export_model
from ...runtimes.needs import in_8_bits, is_8_bits, of_any_bits
from ...runtimes.options import FORMATS, Format, Pair, is_pair, target_files
from .chance import Drop
from .decisions import Epochs
from .job import Amount, Job
from .latency import MOST_S, RUNS, WARMUP, at_the_tables_speed, pass_in_runtime
from .one_bar import LOG
from .options import CompressOptions, Goals
from .stages import Line

RECIPE, PAGE = "recipe.yaml", "report"
_ALLOWED = 1.1  # what a time measured again may be above the goal


@dataclass(frozen=True)
class Result:
    """What is handed over, and what is known of it: figures by model, and times where asked for.

    drop: on the development share, where one is allowed.
    """

    pair: Inputs
    scores: Mapping[str, ModelFigures]
    in_time: str
    drop: Drop | None


def finish(
    job: Job, found: Mapping[str, Inputs], plan: Epochs, amount: Amount, drop: Drop | None
) -> Result:
    """Write everything. The scores here are the first on the validation list."""
    options, line = job.options, job.line
    pair = _handed_over(options, line, found["tuned"])
    write_recipe(line, plan, amount)
    how = Scoring(
        options.data, batch_size=options.machine.batch_size, device=options.machine.device
    )
    models = {"base": job.base, "cut": found["cut"], "final": pair}
    scores = {name: _worth(line, name, model, how) for name, model in models.items()}
    page = line.folder / PAGE
    told = tuple(job.bar.told)
    chain = ChainOptions(tuple(models.values()), how, str(page), force=True, decided=told)
    write_chain(chain, line.tools.build, ["python", "compress.py", "--output", str(line.folder)])
    timed = options.goals.latency_ms is not None
    in_time = _in_time(job, pair) if timed else ""
    return Result(pair, scores, in_time, drop)


def tell(job: Job, result: Result) -> None:
    """The table, what became of the goals, the files, and the next commands."""
    pair, scores, folder = result.pair, result.scores, job.line.folder
    print(_table(scores))
    if result.in_time:
        print(result.in_time)
    print(_verdict(scores["base"], scores["final"]))
    if result.drop is not None:
        print(map_goal_words(job.options.goals, job.epochs, result))
    made = [f for kind in exported(job.options) for f in _files(folder, kind)]
    print("\n".join(f"Wrote {path}" for path in dict.fromkeys((*made, folder / RECIPE))))
    print(f"Wrote {folder / PAGE / 'report.html'}\nWrote {folder / LOG}, what its stages said")
    print(_next(job.options, pair))


def _in_time(job: Job, pair: Inputs) -> str:
    """Milliseconds of one image through both, in turns, and whether the goal is met."""
    goals = job.options.goals
    if goals.latency_table:
        return _by_table(job.line)
    calls = [pass_in_runtime(job, model) for model in (job.base, pair)]
    before, after = time_alternately_ms(calls, RUNS, WARMUP, MOST_S)
    assert goals.latency_ms is not None
    then_ms = at_the_tables_speed(job, calls)
    held = "held" if then_ms <= goals.latency_ms * _ALLOWED else "not held"
    return (
        f"Milliseconds of an image in {goals.runtime or 'torch'}: {shown_latency(before)} -> "
        f"{shown_latency(after)}; at the speed that the table was measured at: {then_ms:.3g} "
        f"(--latency-ms {goals.latency_ms:g}: {held})"
    )


def _by_table(line: Line) -> str:
    """What the last cut said of its times: they are of a device that is not this one."""
    said = [
        text
        for path in sorted(line.folder.glob("*cut/*cut.txt"), key=lambda each: each.stat().st_mtime)
        for text in path.read_text(encoding="utf-8").splitlines()
        if text.startswith("Latency (")
    ]
    return said[-1]


def _worth(line: Line, name: str, model: Inputs, how: Scoring) -> ModelFigures:
    return ModelFigures(**line.value(f"final {name}", lambda: vars(line.score(model, how))))


def _handed_over(options: CompressOptions, line: Line, tuned: Inputs) -> Inputs:
    """The pair, named after the run's folder, for Darknet and OpenCV 4, with exports beside it."""
    for kind in exported(options):
        if not all(path.is_file() for path in _files(line.folder, kind)):
            stem, plain = _stem(line.folder, kind), cast(Format | Pair, of_any_bits(kind))
            int8 = plain != kind
            export = ExportOptions(tuned, plain, str(stem), options.data, int8=int8, force=True)
            export_model(export, line.tools.build)
    cfg, weights = _files(line.folder, "darknet")
    return Inputs(str(cfg), str(weights))


def exported(options: CompressOptions) -> tuple[str, ...]:
    """The kinds of files that are handed over: the pair, and what was asked for beside it."""
    further = (e for e in options.exports if is_8_bits(e) or not is_pair(cast(Format | Pair, e)))
    return tuple(dict.fromkeys(("darknet", *further)))


def _stem(folder: Path, kind: str) -> Path:
    return folder / (in_8_bits(folder.name) if is_8_bits(kind) else folder.name)


def _files(folder: Path, kind: str) -> tuple[Path, ...]:
    return target_files(_stem(folder, kind), cast(Format | Pair, of_any_bits(kind)))


def write_recipe(line: Line, plan: Epochs, amount: Amount) -> None:
    """recipe.yaml: what was found and decided, and the commands that give the same weights."""
    found: dict[str, object] = line.journal.content["found"]
    commands: dict[str, Sequence[str]] = line.journal.content["commands"]
    lines = ["# What compress.py found, decided and ran. The commands give the same weights again."]
    lines += ["found:", *(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in found.items())]
    how = " ".join(amount.words)
    decided = {
        "ranking": str(amount.order),
        "amount": how,
        "pull_epochs": plan.pull,
        "finetune_epochs": plan.finetune,
    }
    lines += ["decided:", *(f"  {key}: {json.dumps(value)}" for key, value in decided.items())]
    lines += ["commands:"]
    for key, words in commands.items():
        lines += [f"  - name: {json.dumps(key)}", f"    words: {json.dumps(list(words))}"]
    with atomic_write(line.folder / RECIPE) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _table(scores: Mapping[str, ModelFigures]) -> str:
    first = scores["base"]
    rows = [["model", "parameters", "", "MACs", "file KB", "mAP@.5", "mAP@.5:.95"]]
    for name, each in scores.items():
        rows.append([
            name,
            short_count(each.parameters),
            f"{each.parameters / first.parameters:.1%}",
            short_count(each.macs),
            f"{each.file_bytes / 1000:,.0f}",
            *("-" if value is None else f"{value:.3f}" for value in (each.map50, each.map)),
        ])  # fmt: skip
    return table(rows, right=range(1, 7))


def _verdict(base: ModelFigures, final: ModelFigures) -> str:
    if base.map50 is None or final.map50 is None:
        return "The data set names no validation images: nothing says what this costs"
    return (
        f"{1 - final.parameters / base.parameters:.0%} of the parameters are gone, mAP@.5 "
        f"{base.map50:.3f} -> {final.map50:.3f} on the validation list, which no choice saw"
    )


def map_goal_words(goals: Goals, epochs: int, result: Result) -> str:
    """What became of --max-map-drop: whether it held, what was foreseen, and what to do if not."""
    allowed, drop = goals.max_map_drop, result.drop
    assert allowed is not None and drop is not None
    before, after = (result.scores[name].map50 for name in ("base", "final"))
    lost = drop.lost if before is None or after is None else before - after
    held = "held" if lost <= allowed else f"not held, by {lost - allowed:.3f}"
    said = f"--max-map-drop {allowed:g}: {held} (on the development share {drop})"
    if drop.at_most <= allowed:
        return said
    if goals.of_size:
        return (
            f"{said}. In {epochs} epochs this size and this drop contradict each other, or are not "
            f"sure to agree: --max-map-drop {allowed:g} alone finds the smallest size that holds, "
            "more --epochs lose less"
        )
    kept = result.scores["final"].parameters / result.scores["base"].parameters
    return (
        f"{said}. No size that was tried is sure to hold in {epochs} epochs; this one, {kept:.0%} "
        "of the parameters, comes nearest. More --epochs lose less, and more images narrow the "
        "margin of chance"
    )


def _next(options: CompressOptions, pair: Inputs) -> str:
    shown = replace(pair, img_size=None)
    timed = of_any_bits(options.goals.runtime or "")
    int8 = ["--int8", "--data", options.data] if timed != (options.goals.runtime or "") else []
    return next_steps({
        "see what it finds": [
            "python", "detect.py", "--weights", shown.weights, "--data", options.data,
            "--source", "PICTURES",
        ],
        "make a file for another runtime": [
            "python", "export.py", "--weights", shown.weights,
            "--format", timed if timed in FORMATS else "onnx", *int8,
            "--output", _stem(Path(shown.weights).parent, options.goals.runtime or ""),
        ],
    })  # fmt: skip
