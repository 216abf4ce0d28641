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

from collections.abc import Sequence
from dataclasses import replace

from train import STRATEGIES
from utils.chains.iterative.flags import read_flags, saved_flags
from utils.chains.iterative.options import IterativeRun
from utils.chains.journal import Journal, Trainer
from utils.command.cli import run_main
from utils.command.folders import first_free
from utils.detection.inputs import require_data, require_inputs

COMMAND = "iterative_prune.py"  # whose journals these are


def main(argv: Sequence[str] | None = None) -> list[dict[str, float]]:
    """Prune and finetune by turns; returns the rows of steps.csv. Raises UserError."""
    run = read_flags(STRATEGIES, __doc__, argv)
    if run.resume:
        journal = Journal.load(run.resume, "--resume", COMMAND)
        run = saved_flags(STRATEGIES, journal.content["args"])
    else:
        require_sound(run)
        output = run.output or first_free("runs/iterative")
        journal = Journal.start(output, "--output", COMMAND, run.typed)
    import train
    from models import Darknet  # heavy, and needed from here on
    from utils.annotations.ready import with_ready_data
    from utils.chains.iterative.run import Tools, run_from_scratch, run_iterative

    trainer = Trainer(train.main, train.RUNS)
    if run.from_scratch:
        finished = Journal.load(run.from_scratch, "--from-scratch", COMMAND)
        return run_from_scratch(run.options, finished, journal, trainer)
    options = replace(run.options, prune=with_ready_data(run.options.prune))
    return run_iterative(options, journal, Tools(Darknet, trainer))


def require_sound(run: IterativeRun) -> None:
    """Find mistakes now and not after hours. Raises UserError; argparse's end the program."""
    import train
    from utils.training.flags import make_parser

    prune_options = run.options.prune
    if run.from_scratch:
        require_data(prune_options.scoring.data)
        Journal.load(run.from_scratch, "--from-scratch", COMMAND)
    else:
        inputs = prune_options.inputs
        require_inputs(inputs.cfg, inputs.weights, prune_options.scoring.data)
    make_parser(None, tuple(train.STRATEGIES)).parse_args(list(run.options.train_flags))


if __name__ == "__main__":
    run_main(main)
