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

A masked model is no faster: runtimes multiply by zeros as by any other number. What makes a model
faster is taking out channels (slim_prune.py) or blocks (layer_prune.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from models import Darknet
from utils.cli import run_main
from utils.masks.flags import make_parser
from utils.masks.run import Masked, run_masking


def main(argv: Sequence[str] | None = None) -> Masked:
    """Run the command. Raises UserError."""
    return run_masking(Darknet, make_parser(__doc__).parse_args(argv))


if __name__ == "__main__":
    run_main(main)
