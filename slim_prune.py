"""Prune channels; channels that a shortcut adds up go only if every layer lets them go.

    python slim_prune.py --cfg cfg/my.cfg --data data/my.data --weights weights/last.pt \\
        --global-percent 0.8 --layer-keep 0.01

Ranks the channels of all layers by |gamma| of their batch normalisation, removes the lowest share
(--global-percent), and leaves each layer at least --layer-keep of its channels. Writes
prune_0.8_keep_0.01_my.cfg beside the cfg and prune_0.8_keep_0.01_last.weights beside the weights,
after showing that the pruned network equals the masked one. Train sparsely first:
python train.py ... -sr --s 0.001 --strategy slim_prune
"""

from __future__ import annotations

from collections.abc import Sequence

from utils.command.cli import run_main
from utils.pruning.strategy import ChannelRule, Strategy

STRATEGY = Strategy(
    ChannelRule(tied="max", floor="ratio", keep_threshold=False),
    ratio_flag="--global-percent",
    ratio=0.8,
)


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
