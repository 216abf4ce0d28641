"""Prune channels as slim_prune.py does, then whole residual blocks as layer_prune.py does.

    python layer_channel_prune.py --cfg cfg/my.cfg --data data/my.data --weights weights/last.pt \\
        --shortcuts 16 --global_percent 0.93 --layer_keep 0.01

The blocks are ranked by the mean |gamma| of the channels that slimming leaves in them. Writes
prune_16_shortcut_prune_0.93_keep_0.01_my.cfg beside the cfg and the weights of that name beside the
weights, after showing that the pruned network equals the masked one. Train sparsely first:
python train.py ... -sr --prune 1
"""

from dataclasses import replace

import slim_prune
from models import Darknet
from utils.pruning.command.run import run

STRATEGY = replace(slim_prune.STRATEGY, blocks=True, ratio=0.6)

if __name__ == "__main__":
    run(STRATEGY, Darknet, __doc__)
