"""The command line of mask_prune.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import get_args

from ..command.cli import (
    DATA_SET,
    Parser,
    add_device,
    add_img_size,
    add_workers,
    img_size,
    positive_int,
    seed,
)
from ..detection.as_the_cfg_says import add_fit, add_nms
from ..detection.inputs import add_inputs, inputs_of
from ..detection.options import Scoring
from .options import MaskChoice, MaskOptions, MethodName, ParameterName, Scope, parse_amounts


def mask_options(args: argparse.Namespace) -> MaskOptions:
    """What the flags of `make_parser` ask for, but for a lottery's."""
    choice = MaskChoice(
        args.method,
        args.amount,
        args.scope,
        args.rounds,
        tuple(args.layers),
        args.parameters,
        args.n,
        args.dim,
        args.custom_method,
        args.seed,
    )
    inputs = inputs_of(args.cfg, args.weights, img_size(args.img_size))
    scoring = Scoring(
        args.data, args.fit, args.nms, args.batch_size, args.workers, args.device, args.seed
    )
    return MaskOptions(inputs, choice, scoring, args.masks, args.force, args.dry_run)


def make_parser(doc: str | None) -> Parser:
    """Every flag with its default."""
    parser = Parser(doc)
    add = parser.add_argument
    add_inputs(parser, "weights/last.pt")
    add(
        "--data",
        default="",
        help=f"to score before and after on: {DATA_SET}; left out, nothing is scored",
    )
    add("--masks", metavar="FILE", help="earlier masks to compose with, in place of --weights'")
    add_method_flags(parser)
    add_img_size(parser)
    add_fit(parser)
    add_nms(parser)
    add("--batch-size", type=positive_int, default=16, help="images per batch when scoring")
    add_device(parser)
    add_workers(parser)
    add("--force", action="store_true", help="overwrite output files of an earlier run")
    add("--dry-run", action="store_true", help="everything up to the tables; write nothing")
    _add_lottery_flags(parser)
    return parser


def _add_lottery_flags(parser: Parser) -> None:
    add = parser.add_argument
    add(
        "--rewind",
        metavar="FILE",
        help="the lottery ticket, in place of --weights: train from FILE (or 'random'), mask, put "
        "what is left back to FILE's values, train again, for --rounds rounds, with two controls",
    )
    add("--epochs", type=positive_int, default=30, help="of each training of --rewind")
    add("--output", metavar="FOLDER", help="of --rewind; left out, runs/lottery, -2, -3, ...")
    add("--resume", metavar="FOLDER", help="go on with a --rewind that was ended")
    add("--train-flags", default="", metavar="TEXT", help='more for train.py: ="--lr0 0.001"')


def add_method_flags(parser: Parser) -> None:
    """What is masked, how, and how much."""
    add = parser.add_argument
    add(
        "--method",
        choices=get_args(MethodName),
        default="l1_unstructured",
        help="what goes: the smallest weights, random ones, or whole slices of a kernel (by their "
        "norm, or at random); custom: as --custom-method says",
    )
    add(
        "--custom-method",
        metavar="FILE.py",
        help="your own Python file with one class derived from torch.nn.utils.prune."
        "BasePruningMethod, made with amount=. It is imported, that is: it is run. Name no file "
        "that you have not read",
    )
    add(
        "--amount",
        type=parse_amounts,
        default="0.3",
        metavar="SHARE",
        help="share to mask in each round, of what is left; or by kind of layer, "
        "convolutional=0.2,connected=0.4",
    )
    add(
        "--scope",
        choices=get_args(Scope),
        default="local",
        help="the share is one of each layer's, or of all weights ranked together (unstructured "
        "methods only)",
    )
    add("--rounds", type=positive_int, default=1, help="rounds, one after the other")
    add(
        "--layers",
        nargs="+",
        default=[],
        metavar="LAYER",
        help="mask these only: layer index, range (3-20) or kind (convolutional); left out: all "
        "with a kernel, but for structured methods not those that a head reads",
    )
    add(
        "--parameters",
        type=_names,
        default="weight",
        metavar="NAMES",
        help="weight, bias or weight,bias: the kernel, and what is added to its outputs (the beta "
        "of batch normalisation, where there is one)",
    )
    add("--n", type=float, default=2, help="norm of ln_structured")
    add("--dim", type=int, default=0, help="of structured methods: 0 outputs, 1 inputs")
    add("--seed", type=seed, default=0, help="of the random methods")


def _names(text: str) -> tuple[ParameterName, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    known: Sequence[ParameterName] = get_args(ParameterName)
    if not set(names) <= set(known):
        raise argparse.ArgumentTypeError(f"must be weight, bias or weight,bias, got {text}")
    return tuple(name for name in known if name in names)
