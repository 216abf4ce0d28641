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

from collections.abc import Sequence

from utils.chains.journal import Journal, Trainer
from utils.chains.lottery.flags import read_flags
from utils.chains.lottery.options import RANDOM, LotteryOptions, MaskRun
from utils.command.cli import run_main
from utils.command.errors import UserError
from utils.command.files import require_file
from utils.command.folders import first_free
from utils.detection.inputs import require_inputs

COMMAND = "mask_prune.py"  # whose journals these are


def main(argv: Sequence[str] | None = None) -> object:
    """Mask, or look for a lottery ticket; returns what was masked, or the rows of the table.

    Raises UserError.
    """
    run = read_flags(__doc__, argv)
    if run.resume:
        return resume_lottery(run.resume)
    if run.lottery:
        return start_lottery(run, run.lottery)
    require_inputs(run.mask.inputs.cfg, run.mask.inputs.weights, run.mask.scoring.data)
    from models import Darknet  # heavy, and needed from here on
    from utils.annotations.ready import with_ready_data
    from utils.masks.run import run_masking

    return run_masking(with_ready_data(run.mask), Darknet)


def start_lottery(run: MaskRun, options: LotteryOptions) -> object:
    """A new lottery with its journal; mistakes are found now and not after hours."""
    import train
    from utils.training.flags import make_parser

    require_inputs(options.mask.inputs.cfg, data=options.mask.scoring.data)
    if options.rewind != RANDOM:
        require_file(options.rewind, "the weights")
    make_parser(None, tuple(train.STRATEGIES)).parse_args(list(options.train_flags))
    from utils.chains.lottery.run import require_unstructured

    require_unstructured(options)
    output = run.output or first_free("runs/lottery")
    journal = Journal.start(output, "--output", COMMAND, {"argv": list(run.words)})
    return go_on(options, journal)


def resume_lottery(folder: str) -> object:
    """Go on with the lottery of a folder."""
    journal = Journal.load(folder, "--resume", COMMAND)
    options = read_flags(__doc__, journal.content["args"]["argv"]).lottery
    if options is None:
        raise UserError(f"--resume {folder}: is no lottery: its flags have no --rewind")
    return go_on(options, journal)


def go_on(options: LotteryOptions, journal: Journal) -> object:
    """All rounds that are left."""
    import train
    from models import Darknet
    from utils.chains.lottery.run import run_lottery

    return run_lottery(options, Darknet, journal, Trainer(train.main, train.RUNS))


if __name__ == "__main__":
    run_main(main)
