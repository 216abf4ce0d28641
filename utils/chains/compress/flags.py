"""The command line of compress.py, and what it asks for."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence

from ...command.cli import (
    DATA_SET,
    Parser,
    add_device,
    add_img_size,
    img_size,
    positive_int,
    ratio,
    seed,
    workers,
)
from ...detection.inputs import add_inputs, inputs_of, model_of
from ...runtimes.options import RUNTIMES
from ...runtimes.targets.advice import add_target
from ..flags import AskedRun, read_run, saved_run
from .options import EXPORTS, CompressOptions, Goals, Machine

_FIRST = (
    "--weights", "--data", "--keep-params", "--keep-macs", "--latency-ms", "--runtime",
    "--for", "--max-map-drop", "--epochs", "--hours", "--export", "--output", "--resume",
    "--dry-run",
)  # fmt: skip


def read_flags(doc: str | None, argv: Sequence[str] | None = None) -> AskedRun[CompressOptions]:
    """What the flags ask for; argv None: those of this process. Raises UserError."""
    return read_run(_parser(doc), argv, _asked_for)


def saved_options(saved: Mapping[str, object]) -> CompressOptions:
    """What the flags of a journal asked for; those that it does not know have their defaults."""
    return saved_run(_parser(None), saved, _asked_for)


def _asked_for(args: argparse.Namespace) -> CompressOptions:
    size = img_size(args.img_size)
    goals = Goals(
        args.keep_params,
        args.keep_macs,
        args.file_kb,
        args.latency_ms,
        args.runtime,
        args.max_map_drop,
        args.latency_table or "",
    )
    return CompressOptions(
        inputs_of(args.cfg, args.weights, size),
        args.data,
        goals,
        args.epochs,
        args.hours,
        model_of(args.teacher, None) if args.teacher else None,
        tuple(args.export),
        Machine(args.batch_size, args.workers, args.device, args.threads, args.cache_images),
        args.seed,
        args.dry_run,
        args.search,
        tuple(shlex.split(args.train_flags)),
        args.target,
    )


def _parser(doc: str | None) -> Parser:
    parser = Parser(doc, first=_FIRST)
    what = parser.add_argument_group("what is compressed")
    add_inputs(what)
    what.add_argument("--data", default="", help=f"to train on and to choose by: {DATA_SET}")
    add_img_size(what)
    goals = parser.add_argument_group("to which goals; all that are given must hold")
    _add_goals(goals)
    add_target(goals)
    _add_work(parser.add_argument_group("with how much work"))
    out = parser.add_argument_group("what is written")
    out.add_argument(
        "--output", metavar="FOLDER", help="a new folder; left out, runs/compress/NAME"
    )
    out.add_argument(
        "--export",
        nargs="+",
        default=[],
        choices=EXPORTS,
        metavar="FORMAT",
        help=f"further files of the result, for {', '.join(EXPORTS)} (in 8 bits)",
    )
    out.add_argument("--resume", metavar="FOLDER", help="go on with a run that was ended")
    out.add_argument("--dry-run", action="store_true", help="measure, print the plan, and stop")
    return parser


def _add_goals(group: argparse._ActionsContainer) -> None:
    add = group.add_argument
    add("--keep-params", type=ratio, metavar="SHARE", help="of the parameters that may stay")
    add("--keep-macs", type=ratio, metavar="SHARE", help="of the multiplications that may stay")
    add("--file-kb", type=float, metavar="KB", help="most kilobytes of the .weights file")
    add("--latency-ms", type=float, metavar="MS", help="most milliseconds of one image")
    add(
        "--runtime",
        choices=RUNTIMES,
        help="what --latency-ms is measured in, -int8: a file in 8 bits; left out, torch",
    )
    add(
        "--latency-table",
        metavar="FILE",
        help="times that latency_table.py measured on another device, which --latency-ms is of",
    )
    add(
        "--max-map-drop",
        type=ratio,
        metavar="DROP",
        help="most mAP@.5 that may be lost; without a goal of size, as small as that allows",
    )


def _add_work(group: argparse._ActionsContainer) -> None:
    add = group.add_argument
    add(
        "--epochs",
        type=positive_int,
        metavar="N",
        help="of all trainings together; left out, from the number of images",
    )
    add("--hours", type=float, metavar="H", help="in place of --epochs: as many as fit in")
    add(
        "--teacher",
        metavar="CFG,WEIGHTS",
        help="a better network of the same classes; left out, the network itself teaches",
    )
    add(
        "--search",
        action=argparse.BooleanOptionalAction,
        help="search how many channels each group of layers keeps, for some 5%% of the time; left "
        "out, where there is time for it and optuna is installed",
    )
    add(
        "--train-flags",
        default="",
        metavar="FLAGS",
        help="more of train.py's flags for all trainings, as one word: the augmentation that the "
        'network was trained with, if it was not the usual one: --train-flags="--mosaic 0"',
    )
    add("--batch-size", type=positive_int, default=16, help="images per step of training")
    add("--seed", type=seed, default=0, help="of the images drawn, order and augmentation")
    add_device(group)
    add("--threads", type=positive_int, metavar="N", help="CPU threads of training")
    add(
        "--workers",
        type=workers,
        default=-1,
        metavar="N",
        help="processes that load images; -1 picks",
    )
    add("--cache-images", action="store_true", help="keep the images in memory while training")
