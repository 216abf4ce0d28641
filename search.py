"""Widths under budgets, by search: how many channels each group of layers keeps.

    python search.py --weights runs/train/base/best.pt --data data/my.data --target-params 0.25
    python search.py --resume runs/search/base
    python slim_prune.py --weights runs/train/base/best.pt --data data/my.data \\
        --widths runs/search/base/widths.json --recalibrate 200

Each trial is one cut network: groups of tied layers keep shares of their channels, scaled by one
factor so that all budgets just hold; the least important channels (--importance) go, with folding
as in a prune; BN statistics are measured again on training images, and mAP@.5 is measured on
development images: a share of the *training* list, held in memory. The first trials are equal
shares, what the importance alone would do, what a sensitivity allots, and means of these; then
Optuna's TPE sampler chooses. The best of many scores on few images flatters itself: prune by it and
by the plain ranking, and compare both on the validation list, best after finetuning.

Writes widths.json for the prune scripts, trials.csv, search.png and the lists of images used; the
study is study.db (SQLite) or wherever --storage says. Several processes, here (--resume) or on
other machines (--storage, --study), work on one study; what a killed one was at is done again by
the others, or by --resume. Needs optuna: pip install optuna
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from train import STRATEGIES
from utils.chains.journal import Journal
from utils.chains.search.flags import read_flags, saved_options
from utils.command.cli import run_main
from utils.command.folders import first_free
from utils.command.optional import require
from utils.command.words.short_names import run_name
from utils.detection.inputs import require_inputs
from utils.pruning.sensitivity.file import read_sensitivity

COMMAND = "search.py"  # whose journals these are


def main(argv: Sequence[str] | None = None) -> object:
    """Search, and write what was found; returns the `Found`. Raises UserError."""
    run = read_flags(STRATEGIES, __doc__, argv)
    options = run.options
    if options is None:
        journal = Journal.load(run.resume, "--resume", COMMAND, shared=True)
        options = saved_options(STRATEGIES, journal.content["args"])
    require_inputs(options.inputs.cfg, options.inputs.weights, options.scoring.data)
    if options.sensitivity:
        read_sensitivity(options.sensitivity)
    require(("optuna",), COMMAND)
    from models import Darknet  # heavy, and needed from here on
    from utils.annotations.ready import with_ready_data
    from utils.chains.search.results import tell, write_results
    from utils.chains.search.run import search_widths

    options = with_ready_data(options)
    if not run.resume:
        name = Path("runs/search", run_name(options.inputs.weights))
        output = run.output or first_free(name)
        words = ["python", COMMAND, *(sys.argv[1:] if argv is None else argv)]
        started = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        journal = Journal.start(
            output, "--output", COMMAND, run.typed, shared=True, words=words, started=started
        )
    found = search_widths(options, journal.folder, Darknet)
    write_results(found, journal.folder)
    tell(found, options, journal.folder)
    return found


if __name__ == "__main__":
    run_main(main)
