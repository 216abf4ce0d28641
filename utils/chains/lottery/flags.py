"""What the command line of mask_prune.py asks for; the flags themselves are `masks.flags`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

from ...command.errors import UserError
from ...masks.flags import make_parser, mask_options
from .options import LotteryOptions, MaskRun


def read_flags(doc: str | None, argv: Sequence[str] | None = None) -> MaskRun:
    """What the flags ask for; argv None: those of this process. Raises UserError."""
    words = sys.argv[1:] if argv is None else list(argv)
    parser = make_parser(doc)
    args = parser.parse_args(words)
    if args.resume and vars(args) != vars(parser.parse_args(["--resume", args.resume])):
        raise UserError("--resume: a resumed run keeps its flags; give --resume alone")
    mask = mask_options(args)
    lottery = LotteryOptions(mask, args.rewind, _train_words(args)) if args.rewind else None
    return MaskRun(mask, lottery, args.output or "", args.resume or "", tuple(words))


def _train_words(args: argparse.Namespace) -> tuple[str, ...]:
    size = ["--img-size", *map(str, args.img_size)] if args.img_size else []
    return (
        *shlex.split(args.train_flags), *size,
        "--cfg", args.cfg or args.weights, "--data", args.data,
        "--epochs", str(args.epochs), "--seed", str(args.seed),
        "--device", args.device, "--workers", str(args.workers),
    )  # fmt: skip
