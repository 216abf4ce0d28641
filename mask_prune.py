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

import sys
from collections.abc import Sequence

import train
from utils.chains.flags import lottery_options
from utils.command.cli import run_main
from utils.command.errors import UserError
from utils.detection.inputs import require_inputs
from utils.masks.flags import make_parser, mask_options
from utils.training.flags import make_parser as make_train_parser

COMMAND = "mask_prune.py"  # whose journals these are


def main(argv: Sequence[str] | None = None) -> object:
    """Mask, or look for a lottery ticket; returns what was masked, or the rows of the table.

    Raises UserError.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    parser = make_parser(__doc__)
    args = parser.parse_args(words)
    if args.resume:
        if vars(args) != vars(parser.parse_args(["--resume", args.resume])):
            raise UserError("--resume: a resumed run keeps its flags; give --resume alone")
        return resume_lottery(args.resume)
    if args.rewind:
        return start_lottery(words)
    options = mask_options(args)
    require_inputs(args.cfg, args.weights, args.data)
    from models import Darknet
    from utils.masks.run import run_masking

    return run_masking(options, Darknet)


def start_lottery(words: Sequence[str]) -> object:
    """A new lottery with its journal; mistakes are found now and not after hours."""
    args = make_parser(__doc__).parse_args(words)
    options = lottery_options(args)
    require_inputs(args.cfg, data=args.data)
    make_train_parser(None, tuple(train.STRATEGIES)).parse_args(list(options.train_flags))
    from models import Darknet
    from utils.chains.journal import Journal, Trainer
    from utils.chains.lottery import require_unstructured, run_lottery
    from utils.command.folders import first_free

    require_unstructured(options)
    output = args.output or first_free("runs/lottery")
    journal = Journal.start(output, "--output", COMMAND, {"argv": list(words)})
    return run_lottery(options, Darknet, journal, Trainer(train.main, train.RUNS))


def resume_lottery(folder: str) -> object:
    """Go on with the lottery of a folder."""
    from models import Darknet
    from utils.chains.journal import Journal, Trainer
    from utils.chains.lottery import run_lottery

    journal = Journal.load(folder, "--resume", COMMAND)
    options = lottery_options(make_parser(__doc__).parse_args(journal.content["args"]["argv"]))
    return run_lottery(options, Darknet, journal, Trainer(train.main, train.RUNS))


if __name__ == "__main__":
    run_main(main)
