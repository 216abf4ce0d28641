"""Prune channels as slim_prune.py does, then whole residual blocks as layer_prune.py does.

    python layer_channel_prune.py --cfg cfg/my.cfg --data data/my.data --weights weights/last.pt \\
        --shortcuts 16 --global-percent 0.93 --layer-keep 0.01

The blocks are ranked by the mean |gamma| of the channels that slimming leaves in them. Writes
prune_16_shortcut_prune_0.93_keep_0.01_my.cfg beside the cfg and the weights of that name beside the
weights, after showing that the pruned network equals the masked one. Train sparsely first:
python train.py ... -sr --prune 1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import slim_prune
from utils.command.cli import run_main

STRATEGY = replace(slim_prune.STRATEGY, blocks=True, ratio=0.6)


def main(argv: Sequence[str] | None = None) -> object:
    """Prune as the flags say; returns the result, or the sweep."""
    # Many want STRATEGY alone, train.py among them: the flags load when they are to be read.
    from utils.pruning.command.flags import read_flags

    options = read_flags(STRATEGY, __doc__, argv)
    from models import Darknet  # heavy, and needed from here on
    from utils.annotations.ready import with_ready_data
    from utils.pruning.command.run import run_pruning

    return run_pruning(with_ready_data(options), Darknet)


if __name__ == "__main__":
    run_main(main)
