"""The command line of iterative_prune.py, and what it asks for."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence

from ...command.cli import (
    DATA_SET,
    Parser,
    add_device,
    add_img_size,
    add_workers,
    positive_int,
    ratio,
    seed,
)
from ...command.errors import UserError
from ...detection.inputs import add_inputs
from ...pruning.command.flags import prune_flags
from ...pruning.importance.options import IMPORTANCES
from ...pruning.strategy import Strategy
from .options import IterativeOptions, IterativeRun, Pace


def read_flags(
    strategies: Mapping[str, Strategy], doc: str | None, argv: Sequence[str] | None = None
) -> IterativeRun:
    """What the flags ask for; argv None: those of this process. `strategies` by prune script.

    Raises UserError; a mistake in --prune-flags ends the program as one of the flags' own does.
    """
    parser = _parser(doc, tuple(strategies))
    args = parser.parse_args(argv)
    changed = [k for k, v in vars(args).items() if k != "resume" and v != parser.get_default(k)]
    if args.resume and changed:
        raise UserError(f"--{changed[0]}: a resumed run keeps its flags; give --resume alone")
    if not (args.resume or args.data):
        raise UserError("--data: is needed, to finetune and to score")
    return _asked_for(strategies, args)


def saved_flags(strategies: Mapping[str, Strategy], saved: Mapping[str, object]) -> IterativeRun:
    """What the flags of a journal asked for; those that it does not know have their defaults."""
    parser = _parser(None, tuple(strategies))
    return _asked_for(strategies, parser.parse_args([], argparse.Namespace(**saved)))


def _asked_for(strategies: Mapping[str, Strategy], args: argparse.Namespace) -> IterativeRun:
    size = ["--img-size", *map(str, args.img_size)] if args.img_size else []
    shared = [*size, "--device", args.device, "--workers", str(args.workers)]
    data = ["--data", args.data, "--seed", str(args.seed)]
    prune_words = [
        *shlex.split(args.prune_flags), *data, "--importance", args.importance, *shared,
        "--weights", args.weights, *(["--cfg", args.cfg] if args.cfg else []),
    ]  # fmt: skip
    train_words = [
        *shlex.split(args.train_flags), *data, "--batch-size", str(args.batch_size), *shared,
    ]  # fmt: skip
    options = IterativeOptions(
        prune_flags(strategies[args.strategy], None, prune_words),
        Pace(
            args.steps,
            args.target,
            args.epochs_per_step,
            args.last_epochs,
            args.last_batch_size,
            args.last_schedule,
            args.one_shot,
        ),
        args.measure,
        args.max_map_drop,
        tuple(train_words),
        (args.t_cfg, args.t_weights),
    )
    return IterativeRun(
        options, args.output or "", args.resume or "", args.from_scratch or "", vars(args)
    )


def _parser(doc: str | None, strategies: Sequence[str]) -> Parser:
    """The flags of iterative_prune.py; `strategies` are the names of the prune scripts."""
    parser = Parser(doc)
    add = parser.add_argument
    add_inputs(parser, "weights/last.pt")
    add(
        "--data",
        default="",
        help=f"to finetune and to score on: {DATA_SET}",
    )
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
    add("--strategy", choices=tuple(strategies), default="slim_prune", help="the prune script")
    add("--importance", choices=tuple(IMPORTANCES), default="bn", help="what ranks the channels")
    add("--epochs-per-step", type=positive_int, default=30, metavar="N", help="of finetuning")
    add("--last-epochs", type=positive_int, metavar="N", help="the last step's own epochs")
    add("--last-batch-size", type=positive_int, metavar="N", help="its own batch size")
    add("--last-schedule", choices=("cosine", "step"), help="its own schedule of the learning rate")
    add("--one-shot", action="store_true", help="one prune, then the epochs of all steps together")
    add("--from-scratch", metavar="FOLDER", help="train this run's best cfg from random weights")
    add("--t-cfg", default="", help="structure of a teacher for every finetuning")
    add("--t-weights", default="", help="its weights")
    add("--batch-size", type=positive_int, default=8, help="of finetuning")
    add_img_size(parser)
    add("--seed", type=seed, default=0, help="of training, and of random importances")
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
