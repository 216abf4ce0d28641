"""The command lines of the chains, and what they ask for."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence

from ..command.cli import Parser, add_device, add_img_size, add_workers, positive_int, ratio
from ..command.errors import UserError
from ..masks.flags import mask_options
from ..pruning.command.flags import prune_flags
from ..pruning.importance.options import IMPORTANCES
from ..pruning.strategy import Strategy
from .options import IterativeOptions, LotteryOptions, Pace


def iterative_options(
    args: argparse.Namespace, strategies: Mapping[str, Strategy]
) -> IterativeOptions:
    """What the flags of `iterative_parser` ask for.

    Raises UserError; a mistake in --prune-flags ends the program as one of the flags' own does.
    """
    if bool(args.t_cfg) != bool(args.t_weights):
        raise UserError("--t_cfg and --t_weights: a teacher needs both")
    own = ["--data", args.data, "--importance", args.importance, "--seed", str(args.seed)]
    model = ["--cfg", args.cfg, "--weights", args.weights]
    words = [*shlex.split(args.prune_flags), *own, *_shared_words(args), *model]
    return IterativeOptions(
        prune_flags(strategies[args.strategy], None, words),
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
        (
            *shlex.split(args.train_flags), "--data", args.data,
            "--batch-size", str(args.batch_size), "--seed", str(args.seed), *_shared_words(args),
        ),
        (args.t_cfg, args.t_weights),
    )  # fmt: skip


def lottery_options(args: argparse.Namespace) -> LotteryOptions:
    """What the flags of mask_prune.py ask for with --rewind.

    Raises UserError for flags that --rewind cannot be combined with.
    """
    if not args.data:
        raise UserError("--rewind: trains, and needs --data")
    if args.masks or args.dry_run:
        raise UserError("--rewind: makes its own masks by training; leave out --masks, --dry-run")
    return LotteryOptions(
        mask_options(args),
        args.rewind,
        (
            *shlex.split(args.train_flags), *_size_words(args), "--cfg", args.cfg,
            "--data", args.data, "--epochs", str(args.epochs), "--seed", str(args.seed),
            "--device", args.device, "--workers", str(args.workers),
        ),
    )  # fmt: skip


def _shared_words(args: argparse.Namespace) -> list[str]:
    return [*_size_words(args), "--device", args.device, "--workers", str(args.workers)]


def _size_words(args: argparse.Namespace) -> list[str]:
    return ["--img_size", *map(str, args.img_size)] if args.img_size else []


def iterative_parser(doc: str | None, strategies: Sequence[str]) -> Parser:
    """The flags of iterative_prune.py; `strategies` are the names of the prune scripts."""
    parser = Parser(doc)
    add = parser.add_argument
    add("--cfg", default="cfg/yolov3.cfg", help="structure of the model")
    add(
        "--data",
        default="",
        help=".data file: to finetune on its train list, to score on its valid list",
    )
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
    add("--strategy", choices=tuple(strategies), default="slim_prune", help="the prune script")
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
