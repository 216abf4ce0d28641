"""How much each group of layers costs to cut: what a prune may take from where.

    python sensitivity.py --weights runs/train/base/best.pt --data data/my.data
    python sensitivity.py --weights runs/train/base/best.pt --data data/my.data --fast
    python sensitivity.py --resume runs/sensitivity/base
    python slim_prune.py --weights runs/train/base/best.pt --target-params 0.5 \\
        --sensitivity runs/sensitivity/base/sensitivity.json --max-layer-drop 0.005

Layers whose channels are tied are one group. Each group alone is cut by 10 to 90% of its channels,
the least important (--importance) first, with folding as in a prune, and what is left is scored on
development images: a share of the *training* list, since what is chosen by the validation list
cannot be measured by it any more. --fast foretells the growth of the loss from gradients, without a
cut: trust its ranks more than its sizes, which are often too small. The other forms print how far
its ranks agree with theirs. Drops are of one group alone: those of several add up.

Writes sensitivity.json (bound to this network by hashes) for the prune scripts, sensitivity.csv,
sensitivity.png, report.html with a heat map, and the lists of images used. Killed at any moment,
--resume goes on and ends with the same files.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from train import STRATEGIES
from utils.chains.journal import Journal
from utils.chains.sensitivity.flags import read_flags, saved_options
from utils.command.cli import run_main
from utils.command.folders import first_free
from utils.command.words.short_names import run_name
from utils.detection.inputs import require_inputs

COMMAND = "sensitivity.py"  # whose journals these are


def main(argv: Sequence[str] | None = None) -> object:
    """Measure, and write what was found; returns the `Sensitivity`. Raises UserError."""
    run = read_flags(STRATEGIES, __doc__, argv)
    options = run.options
    if options is None:
        journal = Journal.load(run.resume, "--resume", COMMAND)
        options = saved_options(STRATEGIES, journal.content["args"])
    require_inputs(options.inputs.cfg, options.inputs.weights, options.scoring.data)
    from models import Darknet  # heavy, and needed from here on
    from utils.annotations.ready import with_ready_data
    from utils.chains.sensitivity.results import tell, write_results
    from utils.chains.sensitivity.run import measure_network

    options = with_ready_data(options)
    if not run.resume:
        name = Path("runs/sensitivity", run_name(options.inputs.weights))
        output = run.output or first_free(name)
        words = ["python", COMMAND, *(sys.argv[1:] if argv is None else argv)]
        started = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        journal = Journal.start(
            output, "--output", COMMAND, run.typed, words=words, started=started
        )
    found = measure_network(options, journal, Darknet)
    write_results(found, options, journal)
    tell(found, options, journal)
    return found


if __name__ == "__main__":
    run_main(main)
