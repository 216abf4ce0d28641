"""Prune channels; those that a shortcut adds up all stay.

    python prune.py --cfg cfg/my.cfg --data data/my.data --weights weights/last.pt --percent 0.8

Ranks the channels of the layers that no shortcut ties by |gamma| of their batch normalisation and
removes the lowest share (--percent); each layer keeps at least its best channel. Writes
prune_0.8_my.cfg beside the cfg and prune_0.8_last.weights beside the weights, after showing that
the pruned network equals the masked one. Train sparsely first: python train.py ... -sr --prune 0
"""

from __future__ import annotations

from collections.abc import Sequence

from utils.command.cli import run_main
from utils.pruning.strategy import ChannelRule, Strategy

STRATEGY = Strategy(ChannelRule(tied="keep"), ratio=0.8)


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
