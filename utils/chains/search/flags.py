"""The command line of search.py, and what it asks for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from typing import get_args

from ...command.cli import Parser, img_size, positive_int, ratio
from ...detection.inputs import add_inputs, inputs_of
from ...detection.options import Development, Scoring
from ...pruning.command.flag_types import image_count
from ...pruning.importance.options import Among, Ranking
from ...pruning.options import Budget, Measure
from ...pruning.strategy import Strategy
from ...runtimes.targets.advice import add_target, rounded_for
from ..flags import AskedRun, read_run, saved_run
from ..sensitivity.flags import add_cuts, add_images
from .options import IMAGES, RECALIBRATE, TRIALS, SearchOptions

_FIRST = (
    "--weights", "--data", "--target-params", "--target-macs", "--target-file", "--trials",
    "--images", "--importance", "--sensitivity", "--storage", "--study", "--img-size", "--output",
    "--resume",
)  # fmt: skip


def read_flags(
    strategies: Mapping[str, Strategy], doc: str | None, argv: Sequence[str] | None = None
) -> AskedRun[SearchOptions]:
    """What the flags ask for; argv None: those of this process. `strategies` by prune script.

    Raises UserError.
    """
    parser = _parser(doc, tuple(strategies))
    return read_run(parser, argv, partial(_asked_for, strategies))


def saved_options(strategies: Mapping[str, Strategy], saved: Mapping[str, object]) -> SearchOptions:
    """What the flags of a journal asked for; those that it does not know have their defaults."""
    parser = _parser(None, tuple(strategies))
    return saved_run(parser, saved, partial(_asked_for, strategies))


def _asked_for(strategies: Mapping[str, Strategy], args: argparse.Namespace) -> SearchOptions:
    targets = {measure: getattr(args, f"target_{measure}", None) for measure in get_args(Measure)}
    return SearchOptions(
        args.strategy,
        strategies[args.strategy],
        inputs_of(args.cfg, args.weights, img_size(args.img_size)),
        Scoring(
            args.data, args.fit, args.nms, args.batch_size, args.workers, args.device, args.seed
        ),
        tuple(Budget(measure, share) for measure, share in targets.items() if share is not None),
        args.trials,
        Development(args.development, args.seed, args.images),
        Ranking(args.importance, args.normalize, args.taylor_batches, among=args.ranking),
        tuple(args.exclude),
        tuple(args.only),
        rounded_for(args.target, args.round_to),
        args.recalibrate,
        args.sensitivity or "",
        args.storage or "",
        args.study or "",
    )


def _parser(doc: str | None, strategies: Sequence[str]) -> Parser:
    """The flags of search.py; `strategies` are the names of the prune scripts."""
    parser = Parser(doc, first=_FIRST)
    group = parser.add_argument_group("what is cut")
    add_inputs(group)
    _add_targets(group)
    add_cuts(group, strategies)
    _add_search(parser.add_argument_group("how it is searched"))
    group = parser.add_argument_group("on which images")
    add_images(group, IMAGES)
    group.add_argument(
        "--recalibrate",
        type=image_count,
        default=RECALIBRATE,
        metavar="N",
        help="after each cut, measure the BN statistics again on N images of the training list's "
        "rest",
    )
    group = parser.add_argument_group("what is written")
    group.add_argument(
        "--output",
        metavar="FOLDER",
        help="a new folder; left out, runs/search/NAME, as the weights are called",
    )
    group.add_argument(
        "--resume",
        metavar="FOLDER",
        help="go on with a run that was ended, or take part in one that runs on this machine",
    )
    return parser


def _add_targets(group: argparse._ActionsContainer) -> None:
    for measure, what in (
        ("params", "parameters"), ("macs", "MACs"), ("file", "bytes of the .weights file"),
    ):  # fmt: skip
        group.add_argument(
            f"--target-{measure}",
            type=ratio,
            metavar="SHARE",
            help=f"the share of the {what} that may stay at most; several targets must all hold",
        )
    group.add_argument(
        "--round-to",
        type=positive_int,
        default=1,
        metavar="N",
        help="keep multiples of N channels, rounding up: 8 suits most runtimes",
    )
    add_target(group, writes_cfg=False)


def _add_search(group: argparse._ActionsContainer) -> None:
    add = group.add_argument
    add(
        "--ranking",
        choices=get_args(Among),
        default="global",
        help="which channels compete in the plain ranking's first guess, as of the prune scripts; "
        "which channels of a group go first is the same with all",
    )
    add(
        "--trials",
        type=positive_int,
        default=TRIALS,
        metavar="N",
        help="cut networks that the study scores in all, whoever scores them",
    )
    add(
        "--sensitivity",
        metavar="FILE",
        help="a file of sensitivity.py for these weights, to begin with what it allots; left out, "
        "one from gradients",
    )
    add(
        "--storage",
        metavar="URL",
        help="where Optuna keeps the study, so that several machines work on it: "
        "postgresql://HOST/DATABASE, mysql://..., journal:FILE on a shared disk; left out, an "
        "SQLite file in the run's folder",
    )
    add("--study", metavar="NAME", help="the study's name in --storage, the same on each machine")
