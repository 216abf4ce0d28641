"""What a run of search.py leaves in its folder, and what it says."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterator
from pathlib import Path

from ...command.files import atomic_write
from ...command.table import table
from ...command.words.next_step import Words, next_steps
from ...command.words.short_names import run_name
from ...pruning.widths.file import write_widths
from .options import SearchOptions
from .run import Found, Trial
from .start import EQUAL, PLAIN

WIDTHS_NAME, CSV_NAME, PNG_NAME = "widths.json", "trials.csv", "search.png"
_SHOWN = 5
_FOR_GOOD = 200  # images that the next command measures BN statistics on


def write_results(found: Found, folder: Path) -> None:
    """widths.json, trials.csv and search.png: the same bytes for the same trials."""
    from ...pictures.charts import save_png  # matplotlib takes a second to load
    from .chart import search_chart

    write_widths(found.widths(found.best[0]), folder / WIDTHS_NAME)
    _write_csv(found, folder / CSV_NAME)
    with atomic_write(folder / PNG_NAME) as temporary:
        save_png(search_chart(found), temporary)


def _write_csv(found: Found, path: Path) -> None:
    """All trials in their order, unrounded; kept channels by the layers of each group."""
    names = [" ".join(map(str, layers)) for layers, _ in found.groups]
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["trial", "origin", "map50", "map", "params", "macs", "file",
             *(f"layers {name}" for name in names)]
        )  # fmt: skip
        for trial in found.trials:
            figures = [trial.map50, trial.map, trial.params, trial.macs, trial.file]
            writer.writerow([trial.draw, trial.origin, *figures, *trial.kept])


def tell(found: Found, options: SearchOptions, folder: Path) -> None:
    """The table of the best, the speed, the files, and the next command."""
    print(_table(found))
    for line in summary(found):
        print(line)
    for name in (WIDTHS_NAME, CSV_NAME, PNG_NAME):
        print(f"Wrote {folder / name}")
    print(next_steps({"prune by the best": _prune(options, folder)}))


def _table(found: Found) -> str:
    """The best, and beside them what a prune by the importance alone and equal shares score."""
    rows = [["", "trial", "from", "mAP@.5", "parameters", "MACs", "file"]]
    ranked = list(enumerate(found.best, 1))
    shown = ranked[:_SHOWN]
    shown += [each for each in ranked[_SHOWN:] if each[1].origin in (PLAIN, EQUAL)]
    for place, trial in shown:
        rows.append([
            str(place), str(trial.draw), trial.origin, f"{trial.map50:.3f}",
            *(f"{share:.1%}" for share in _shares(found, trial)),
        ])  # fmt: skip
    return table(rows, right=[0, 1, 3, 4, 5, 6])


def _shares(found: Found, trial: Trial) -> Iterator[float]:
    for name in ("params", "macs", "file"):
        yield getattr(trial, name) / found.whole[name] if found.whole[name] else 1.0


def summary(found: Found) -> Iterator[str]:
    """What was found against the plain ranking, how far it is to be trusted, and how fast."""
    best = found.best[0]
    plain = next((trial for trial in found.trials if trial.origin == PLAIN), None)
    said = f"Best of {len(found.trials)} cut networks: mAP@.5 {best.map50:.3f}"
    if plain is not None:
        said += f", the plain ranking {plain.map50:.3f}"
    yield (
        f"{said}, the uncut network {found.base_map50:.3f}; on {found.images} development images, "
        "before any finetuning"
    )
    yield (
        "The best of many on few images flatters itself: the validation list, which took no part, "
        "says what it is worth"
    )
    each = statistics.median(trial.seconds for trial in found.trials)
    said = f"Speed: {each:.2f} s a cut network (median), {1 / each:.2f} a second"
    if found.here:
        said += f"; {found.here} in this run, {found.here / found.here_s:.2f} a second in all"
    yield f"{said}; the uncut network takes {found.base_seconds:.2f} s to score on these images"


def _prune(options: SearchOptions, folder: Path) -> Words:
    inputs, ranking, size = options.inputs, options.ranking, options.inputs.img_size
    words: Words = ["python", f"{options.script}.py"]
    words += [] if inputs.cfg == inputs.weights else ["--cfg", inputs.cfg]
    words += ["--weights", inputs.weights, "--data", options.scoring.data]
    words += ["--img-size", *size] if size else []
    words += ["--importance", ranking.importance]
    words += ["--normalize", ranking.normalize] if ranking.normalize else []
    words += ["--round-to", options.round_to] if options.round_to > 1 else []
    words += ["--exclude", *options.exclude] if options.exclude else []
    words += ["--only", *options.only] if options.only else []
    words += ["--widths", folder / WIDTHS_NAME, "--recalibrate", _FOR_GOOD]
    return [*words, "--name", f"{run_name(inputs.weights)}-widths"]
