"""The command line of sensitivity.py, and what it asks for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial

from ...command.cli import (
    Parser,
    add_device,
    add_img_size,
    add_workers,
    img_size,
    positive_int,
    ratio,
    seed,
)
from ...command.value_range import several
from ...detection.as_the_cfg_says import add_fit, add_nms
from ...detection.inputs import add_inputs, inputs_of
from ...detection.options import Development, Scoring
from ...pruning.importance.options import IMPORTANCES, Ranking
from ...pruning.strategy import Strategy
from ..flags import AskedRun, read_run, saved_run
from .options import IMAGES, SHARES, SensitivityOptions

_FIRST = (
    "--weights", "--data", "--output", "--fast", "--measure", "--shares", "--importance",
    "--img-size", "--resume",
)  # fmt: skip


def read_flags(
    strategies: Mapping[str, Strategy], doc: str | None, argv: Sequence[str] | None = None
) -> AskedRun[SensitivityOptions]:
    """What the flags ask for; argv None: those of this process. `strategies` by prune script.

    Raises UserError.
    """
    parser = _parser(doc, tuple(strategies))
    return read_run(parser, argv, partial(_asked_for, strategies))


def saved_options(
    strategies: Mapping[str, Strategy], saved: Mapping[str, object]
) -> SensitivityOptions:
    """What the flags of a journal asked for; those that it does not know have their defaults."""
    parser = _parser(None, tuple(strategies))
    return saved_run(parser, saved, partial(_asked_for, strategies))


def _asked_for(strategies: Mapping[str, Strategy], args: argparse.Namespace) -> SensitivityOptions:
    shares = args.shares if isinstance(args.shares, tuple | list) else (args.shares,)
    return SensitivityOptions(
        args.strategy,
        strategies[args.strategy],
        inputs_of(args.cfg, args.weights, img_size(args.img_size)),
        Scoring(
            args.data, args.fit, args.nms, args.batch_size, args.workers, args.device, args.seed
        ),
        tuple(shares),
        "fast" if args.fast else args.measure,
        Development(args.development, args.seed, args.images),
        Ranking(args.importance, args.normalize, args.taylor_batches),
        tuple(args.exclude),
        tuple(args.only),
        args.recalibrate,
    )


def _parser(doc: str | None, strategies: Sequence[str]) -> Parser:
    """The flags of sensitivity.py; `strategies` are the names of the prune scripts."""
    parser = Parser(doc, first=_FIRST)
    _add_what(parser.add_argument_group("what is measured"), strategies)
    add_images(parser.add_argument_group("on which images"), IMAGES)
    group = parser.add_argument_group("what is written")
    group.add_argument(
        "--output",
        metavar="FOLDER",
        help="a new folder; left out, runs/sensitivity/NAME, as the weights are called",
    )
    group.add_argument("--resume", metavar="FOLDER", help="go on with a run that was ended")
    return parser


def _add_what(group: argparse._ActionsContainer, strategies: Sequence[str]) -> None:
    add = group.add_argument
    add_inputs(group)
    add(
        "--fast",
        action="store_true",
        help="cut nothing: predict the growth of the loss from gradients, in a few seconds",
    )
    add(
        "--measure",
        choices=("map", "loss"),
        default="map",
        help="what a drop is: mAP@.5 lost, or growth of the loss as a share of it, which is faster",
    )
    add(
        "--shares",
        type=several(ratio),
        default=SHARES,
        metavar="SHARES",
        help="of a group's channels to cut, as START:STOP:STEP or a,b,c",
    )
    add_cuts(group, strategies)
    add(
        "--recalibrate",
        type=positive_int,
        metavar="N",
        help="measure the BN statistics behind each cut again, on N images of the training list's "
        "rest, as a prune with --recalibrate does",
    )


def add_cuts(group: argparse._ActionsContainer, strategies: Sequence[str]) -> None:
    """Add what says which channels may go, and in which order; `strategies` by prune script."""
    add = group.add_argument
    add("--strategy", choices=tuple(strategies), default="slim_prune", help="whose candidates")
    add(
        "--importance",
        choices=tuple(IMPORTANCES),
        default="bn",
        help="which channels of a group go first: the same as the prune's",
    )
    add("--normalize", choices=("layer", "global", "none"), help="as of the prune scripts")
    add(
        "--taylor-batches",
        type=positive_int,
        default=16,
        metavar="N",
        help="training batches that --importance taylor averages over",
    )
    add("--exclude", nargs="+", default=[], metavar="LAYER", help="leave these groups out")
    add("--only", nargs="+", default=[], metavar="LAYER", help="cut nothing but these layers")


def add_images(group: argparse._ActionsContainer, most: int) -> None:
    """Add what says which images are scored on, `most` of them unless told, and how."""
    add = group.add_argument
    add("--data", default="", help="data set; its validation list is not looked at")
    add(
        "--development",
        type=ratio,
        default=0.1,
        metavar="SHARE",
        help="the share of the training list that is kept for choices, drawn by --seed",
    )
    add(
        "--images",
        type=positive_int,
        default=most,
        metavar="N",
        help="no more than N images of that share",
    )
    add("--seed", type=seed, default=0, help="of the share, and of random scores")
    add_img_size(group)
    add_fit(group)
    add_nms(group)
    add("--batch-size", type=positive_int, default=16, help="images per batch")
    add_device(group)
    add_workers(group)
