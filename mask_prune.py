"""Mask weights: set the least important ones to 0, and hold them there while finetuning.

    python mask_prune.py --cfg cfg/my.cfg --data data/my.data --weights runs/train/base/best.pt \\
        --method l1_unstructured --amount 0.6 --scope global
    python train.py --cfg cfg/my.cfg --data data/my.data --epochs 30 \\
        --weights FILE.pt --masks FILE.pt

The masks are torch.nn.utils.prune's and compose as they do there: a further round, or a call on
weights that were finetuned with masks, takes its share of what is left. Beside the weights it
writes mask_METHOD_AMOUNT_NAME.pt, with the masks, for train.py --masks, and a .weights of that
name, an ordinary file with zeros in it, for any runtime. It prints the sparsity of each layer, and
mAP, file sizes (as they are and gzip-compressed) and the measured time before and after.

    python mask_prune.py --cfg cfg/my.cfg --data data/my.data --rewind random --amount 0.4 \\
        --scope global --rounds 3 --epochs 30

looks for a lottery ticket: trains, masks 40%, puts the weights that are left back to where they
started, trains again, and so on; beside it, at each sparsity, as many weights masked at random, and
the ticket's masks on other random weights. It ends with a table of mAP, also in lottery.csv and
drawn in lottery.png.

A masked model is no faster: runtimes multiply by zeros as by any other number. What makes a model
faster is taking out channels (slim_prune.py) or blocks (layer_prune.py).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import train
from models import Darknet
from utils.chains.journal import Journal, Trainer
from utils.chains.lottery import Row, require_possible, run_lottery, train_flags
from utils.command.cli import run_main
from utils.command.errors import UserError
from utils.command.folders import first_free
from utils.masks.flags import make_parser
from utils.masks.run import Masked, run_masking
from utils.training.flags import make_parser as make_train_parser

COMMAND = "mask_prune.py"  # whose journals these are


def main(argv: Sequence[str] | None = None) -> Masked | list[Row]:
    """Run the command; what was masked, or the rows of a lottery's table. Raises UserError."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = make_parser(__doc__).parse_args(argv)
    if not (args.rewind or args.resume):
        return run_masking(Darknet, args)
    args, journal = lottery(args, argv)
    return run_lottery(Darknet, args, journal, Trainer(train.main, train.RUNS))


def lottery(args: argparse.Namespace, argv: Sequence[str]) -> tuple[argparse.Namespace, Journal]:
    """The arguments and the journal of `--rewind`, or of what `--resume` goes on with."""
    parser = make_parser(__doc__)
    if args.resume:
        if vars(args) != vars(parser.parse_args(["--resume", args.resume])):
            raise UserError("--resume: a resumed run keeps its flags; give --resume alone")
        journal = Journal.load(args.resume, "--resume", COMMAND)
        return parser.parse_args(list(journal.content["args"]["argv"])), journal
    require_possible(args)
    make_train_parser(None, tuple(train.STRATEGIES)).parse_args(train_flags(args))
    output = args.output or first_free("runs/lottery")
    return args, Journal.start(output, "--output", COMMAND, {"argv": list(argv)})


if __name__ == "__main__":
    run_main(main)
