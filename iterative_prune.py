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
from models import Darknet
from utils.chains.iterative import (
    COMMAND,
    Row,
    Tools,
    prune_flags,
    run_from_scratch,
    run_iterative,
    train_flags,
)
from utils.chains.journal import Journal, Trainer
from utils.command.cli import (
    Parser,
    add_device,
    add_img_size,
    add_workers,
    positive_int,
    ratio,
    run_main,
)
from utils.command.errors import UserError
from utils.command.files import require_file
from utils.command.folders import first_free
from utils.pruning.command.flags import parse_args as parse_prune_args
from utils.pruning.importance.options import IMPORTANCES
from utils.training.flags import make_parser as make_train_parser

STRATEGIES = {
    "slim_prune": slim_prune.STRATEGY,
    "prune": prune.STRATEGY,
    "shortcut_prune": shortcut_prune.STRATEGY,
}


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Run the command; returns the rows of steps.csv. Raises UserError."""
    args, journal = opened(sys.argv[1:] if argv is None else argv)
    trainer = Trainer(train.main, train.RUNS)
    if args.from_scratch:
        return run_from_scratch(args, journal, trainer)
    tools = Tools(Darknet, STRATEGIES[args.strategy], trainer)
    return run_iterative(args, journal, tools)


def opened(argv: Sequence[str]) -> tuple[argparse.Namespace, Journal]:
    """The arguments and the journal, new or that of `--resume`. Raises UserError."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.resume:
        changed = [k for k, v in vars(args).items() if k != "resume" and v != parser.get_default(k)]
        if changed:
            raise UserError(f"--{changed[0]}: a resumed run keeps its flags; give --resume alone")
        journal = Journal.load(args.resume, "--resume", COMMAND)
        saved = parser.parse_args([], argparse.Namespace(**journal.content["args"]))
        return saved, journal
    check(args)
    output = args.output or first_free("runs/iterative")
    return args, Journal.start(output, "--output", COMMAND, vars(args))


def check(args: argparse.Namespace) -> None:
    """Find mistakes now and not after hours. Raises UserError; argparse's end the program."""
    if not args.data:
        raise UserError("--data: is needed, to finetune and to score")
    require_file(args.data, "the data set")
    if bool(args.t_cfg) != bool(args.t_weights):
        raise UserError("--t_cfg and --t_weights: a teacher needs both")
    if not args.from_scratch:
        require_file(args.cfg, "the structure")
        require_file(args.weights, "the weights")
        parse_prune_args(STRATEGIES[args.strategy], None, prune_flags(args))
    make_train_parser(None, tuple(train.STRATEGIES)).parse_args(train_flags(args))


def make_parser() -> Parser:
    """Every flag with its default."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--cfg", default="cfg/yolov3.cfg", help="structure of the model")
    add("--data", help=".data file: to finetune on its train list, to score on its valid list")
    add("--weights", default="weights/last.pt", help=".weights or .pt to start from")
    add("--output", metavar="FOLDER", help="a new folder; left out, runs/iterative, -2, -3, ...")
    add("--resume", metavar="FOLDER", help="go on with a run that was ended")
    add("--steps", type=positive_int, default=16, help="of pruning and finetuning")
    add("--target", type=ratio, default=0.5, metavar="SHARE", help="what is to be gone at the end")
    add(
        "--measure",
        choices=("channels", "params", "macs"),
        default="channels",
        help="what --target is a share of",
    )
    add("--max-map-drop", type=ratio, metavar="DROP", help="of mAP@.5, from which on to stop")
    add("--strategy", choices=tuple(STRATEGIES), default="slim_prune", help="the prune script")
    add("--importance", choices=tuple(IMPORTANCES), default="bn", help="what ranks the channels")
    add("--epochs-per-step", type=positive_int, default=30, metavar="N", help="of finetuning")
    add("--last-epochs", type=positive_int, metavar="N", help="the last step's own epochs")
    add("--last-batch-size", type=positive_int, metavar="N", help="its own batch size")
    add("--last-schedule", choices=("cosine", "step"), help="its own schedule of the learning rate")
    add("--one-shot", action="store_true", help="one prune, then the epochs of all steps together")
    add("--from-scratch", metavar="FOLDER", help="train this run's best cfg from random weights")
    add("--t_cfg", default="", help="structure of a teacher for every finetuning")
    add("--t_weights", default="", help="its weights")
    add("--batch-size", type=positive_int, default=8, help="of finetuning")
    add_img_size(parser)
    add("--seed", type=int, default=0, help="of training, and of random importances")
    add_device(parser)
    add_workers(parser)
    add(
        "--train-flags",
        default="",
        metavar="TEXT",
        help='more for train.py: ="--lr0 0.001 --amp off"',
    )
    add(
        "--prune-flags",
        default="",
        metavar="TEXT",
        help='more for the prune script: ="--round-to 8"',
    )
    return parser


if __name__ == "__main__":
    run_main(main)
