"""Prune channels; channels that a shortcut adds up go only if every layer lets them go.

    python slim_prune.py --weights runs/train/sparse/last.pt --data data/my.data --name slim \\
        --max-map-drop 0.03
    python slim_prune.py --weights runs/train/sparse/last.pt --data data/my.data --name slim \\
        --global-percent 0.55 --layer-keep 0.05

Ranks the channels of all layers by |gamma| of their batch normalisation and removes the lowest, as
many as the flag says; each layer keeps at least --layer-keep of its channels. Writes
runs/prune/slim/slim.cfg and slim.weights after showing that the pruned network equals the masked
one; without --name, prune_0.55_keep_0.05_my.cfg beside the cfg and weights of such a name beside
the weights. Train sparsely first (train.py --hyp data/hyp/sparse.yaml).
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
