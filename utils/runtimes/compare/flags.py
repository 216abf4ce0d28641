"""The command line of compare.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from ...command.cli import DATA_SET, Parser, add_img_size, img_size, positive_int
from ...detection.inputs import model_of
from ..options import BACKENDS, RUNTIMES
from .options import Clock, CompareOptions


def read_options(doc: str | None, argv: Sequence[str] | None) -> CompareOptions:
    """What the flags ask for; `doc` is the text of --help. Raises UserError for wrong ones."""
    args = make_parser(doc).parse_args(argv)
    size = img_size(args.img_size)
    return CompareOptions(
        models=tuple(model_of(pair, size) for pair in args.models),
        data=args.data or "",
        runtimes=tuple(name.strip() for name in args.runtimes.split(",") if name.strip()),
        threads=args.threads,
        runs=args.runs,
        calibration_images=args.calibration_images,
        output=args.output,
        clock=args.clock,
    )


def make_parser(doc: str | None) -> Parser:
    """Every flag with its default."""
    parser = Parser(doc)
    add = parser.add_argument
    add(
        "--models",
        nargs="+",
        required=True,
        metavar="CFG,WEIGHTS",
        help="what to compare; a .pt alone holds its cfg",
    )
    add("--data", help=f"to score on: {DATA_SET}; left out, nothing is scored")
    add("--runtimes", default=",".join(BACKENDS), help=f"of {', '.join(RUNTIMES)}")
    add(
        "--threads",
        type=positive_int,
        help="CPU threads of each; left out, as many as PyTorch takes",
    )
    add("--runs", type=positive_int, default=50, help="forward passes that are timed")
    add("--calibration-images", type=positive_int, default=100, metavar="N", help="for int8")
    add("--output", metavar="FOLDER", help="keep compare.html, .csv and .png in this new folder")
    add("--clock", choices=get_args(Clock), default="cpu", help="time that the picture shows")
    add_img_size(parser)
    return parser
