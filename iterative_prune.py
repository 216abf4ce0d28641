"""Prune channels in steps: prune a little, finetune, score, and again.

    python iterative_prune.py --cfg cfg/my.cfg --data data/my.data --weights base.pt \\
        --steps 16 --target 0.5 --epochs-per-step 30 --max-map-drop 0.2 --output runs/iterative/my
    python iterative_prune.py --resume runs/iterative/my
    python iterative_prune.py ... --one-shot --output runs/iterative/my-one
    python iterative_prune.py --from-scratch runs/iterative/my --data data/my.data --output NEW

After step k, k / steps of the target is gone: --target 0.5 takes half of all channels, the last
step exactly so, as far as tied channels allow. Each step is pruned by --strategy, trained by
train.py (its best.pt goes on) and scored on the data set's validation images.

The best model is the smallest, that is the last step, whose mAP@.5 after finetuning lies at most
--max-map-drop below the start; a step that exceeds it ends the run. Without the flag it is the last
step. best.cfg, best.weights, steps.csv, steps.png and state.json lie in --output, the steps in
folders beside them, the trainings in runs/train. Killed at any moment, --resume goes on and ends
with the same steps.csv.

For comparison, --one-shot prunes once and finetunes for the epochs of all steps together, and
--from-scratch trains the best structure of a finished run from random weights for its epochs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import prune
import shortcut_prune
import slim_prune
import train
from utils.chains.flags import iterative_options, iterative_parser
from utils.command.cli import run_main
from utils.command.errors import UserError
from utils.detection.inputs import require_data, require_inputs
from utils.training.flags import make_parser as make_train_parser

COMMAND = "iterative_prune.py"  # whose journals these are
STRATEGIES = {
    "slim_prune": slim_prune.STRATEGY,
    "prune": prune.STRATEGY,
    "shortcut_prune": shortcut_prune.STRATEGY,
}


def main(argv: Sequence[str] | None = None) -> list[dict[str, float]]:
    """Prune and finetune by turns; returns the rows of steps.csv. Raises UserError."""
    parser = iterative_parser(__doc__, tuple(STRATEGIES))
    given = parser.parse_args(sys.argv[1:] if argv is None else argv)
    if given.resume:
        changed = [
            k for k, v in vars(given).items() if k != "resume" and v != parser.get_default(k)
        ]
        if changed:
            raise UserError(f"--{changed[0]}: a resumed run keeps its flags; give --resume alone")
    else:
        check(given)
    from models import Darknet
    from utils.chains.iterative import Tools, run_from_scratch, run_iterative
    from utils.chains.journal import Journal, Trainer
    from utils.command.folders import first_free

    if given.resume:
        journal = Journal.load(given.resume, "--resume", COMMAND)
        args = parser.parse_args([], argparse.Namespace(**journal.content["args"]))
    else:
        args = given
        output = args.output or first_free("runs/iterative")
        journal = Journal.start(output, "--output", COMMAND, vars(args))
    options = iterative_options(args, STRATEGIES)
    trainer = Trainer(train.main, train.RUNS)
    if args.from_scratch:
        other = Journal.load(args.from_scratch, "--from-scratch", COMMAND)
        return run_from_scratch(options, other, journal, trainer)
    return run_iterative(options, journal, Tools(Darknet, trainer))


def check(args: argparse.Namespace) -> None:
    """Find mistakes now and not after hours. Raises UserError; argparse's end the program."""
    if not args.data:
        raise UserError("--data: is needed, to finetune and to score")
    options = iterative_options(args, STRATEGIES)
    if args.from_scratch:
        require_data(args.data)
    else:
        require_inputs(args.cfg, args.weights, args.data)
    make_train_parser(None, tuple(train.STRATEGIES)).parse_args(list(options.train_flags))


if __name__ == "__main__":
    run_main(main)
