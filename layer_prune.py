"""Prune layers: whole residual blocks, a shortcut with the branch that it adds.

    python layer_prune.py --cfg cfg/my.cfg --data data/my.data --weights weights/last.pt \\
        --shortcuts 8

Ranks the residual blocks by the mean |gamma| of the last convolution in their branch, removes the
lowest --shortcuts of them, and renumbers every route, shortcut and the like. What a removed branch
still emits as a constant moves on into the layers behind it. Writes prune_8_shortcut_my.cfg beside
the cfg and prune_8_shortcut_last.weights beside the weights, after showing that the pruned network
equals the masked one. Train sparsely first: python train.py ... -sr --prune 1
"""

from __future__ import annotations

from collections.abc import Sequence

from utils.command.cli import run_main
from utils.pruning.strategy import Strategy

STRATEGY = Strategy(blocks=True)


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
