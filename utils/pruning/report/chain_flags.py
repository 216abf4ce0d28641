"""The command line of report.py."""

from __future__ import annotations

from collections.abc import Sequence

from ...command.cli import (
    Parser,
    add_device,
    add_img_size,
    add_workers,
    img_size,
    positive_int,
)
from ...detection.as_the_cfg_says import add_fit, add_nms
from ...detection.inputs import model_of
from ...detection.options import Scoring
from .chain_options import ChainOptions


def read_options(doc: str | None, argv: Sequence[str] | None) -> ChainOptions:
    """What the flags ask for; `doc` is the text of --help. Raises UserError as `ChainOptions`."""
    args = make_parser(doc).parse_args(argv)
    size = img_size(args.img_size)
    scoring = Scoring(args.data, args.fit, args.nms, args.batch_size, args.workers, args.device)
    models = tuple(model_of(words, size) for words in args.models)
    return ChainOptions(models, scoring, args.output, args.force)


def make_parser(doc: str | None) -> Parser:
    """Every flag with its default."""
    parser = Parser(doc)
    add = parser.add_argument
    add("--models", nargs="+", required=True, metavar="CFG,WEIGHTS", help="stages in their order")
    add("--data", default="", help="data set to score on; left out, nothing is scored")
    add("--output", metavar="FOLDER", default="runs/report", help="a new folder for report.html")
    add("--force", action="store_true", help="replace an earlier page in that folder")
    add_img_size(parser)
    add_fit(parser)
    add_nms(parser)
    add("--batch-size", type=positive_int, default=16, help="images per batch when scoring")
    add_device(parser)
    add_workers(parser)
    return parser
