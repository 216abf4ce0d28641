"""Train a detector: base training, sparse training, finetuning.

    python train.py --cfg cfg/my.cfg --data data/my.data --epochs 100
    python train.py --cfg cfg/my.cfg --data data/my.data --weights best.pt -sr --s 0.001
    python train.py --cfg cfg/prune_0.8_my.cfg --data data/my.data --weights prune_0.8_my.weights
    python train.py --cfg cfg/my.cfg --data data/my.data --weights m.pt --masks m.pt
    python train.py --cfg cfg/my.cfg --data data/my.data --hyp-from-cfg
    python train.py --cfg cfg/prune_0.8_my.cfg --data data/my.data --weights prune_0.8_my.weights \\
        --t-cfg cfg/my.cfg --t-weights best.pt --distill feature
    python train.py --cfg cfg/small.cfg --data data/my.data --unlabelled more \\
        --t-weights large.pt --t-img-size 640
    python train.py --resume --name my
    torchrun --nproc_per_node=4 -- train.py --cfg cfg/my.cfg --data data/my.data

A run writes to runs/train/NAME: last.pt (go on with --resume), best.pt, args.json, results.csv,
train.log, TensorBoard files (tensorboard --logdir runs) and, without --noplots, pictures: labels,
first batches, curves, confusion matrix, detections. Copies of both checkpoints go to weights/.
best.pt is the epoch with the highest fitness, the mean of mAP@.5 and mAP@.5:.95 of the averaged
weights; all epochs are scored with the same thresholds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import prune
import shortcut_prune
import slim_prune
from utils.command.cli import run_main
from utils.command.files import alone
from utils.detection.inputs import require_inputs
from utils.training.flags import make_parser, resumed_flags, typed_flags
from utils.training.options import TrainOptions
from utils.training.run_folder import RUNS as RUNS  # for those who chain trainings
from utils.training.run_folder import find_run
from utils.training.sparse.options import SparsityOptions

# Sparse training penalises exactly what the named script may remove.
STRATEGIES = {
    "prune": prune.STRATEGY,
    "shortcut_prune": shortcut_prune.STRATEGY,
    "slim_prune": slim_prune.STRATEGY,
}


def main(argv: Sequence[str] | None = None) -> Path:
    """Train as the flags say; returns the run's folder."""
    words = sys.argv[1:] if argv is None else list(argv)
    typed = typed_flags(make_parser(__doc__, tuple(STRATEGIES)), words)
    if typed["resume"] is not None:
        return resume(words, typed["resume"], typed["name"], Path(typed["project"]))
    options = TrainOptions.of_flags(typed)
    cfg = require_inputs(options.cfg, options.start.weights, options.data)
    from models import Darknet
    from utils.annotations.ready import with_ready_data
    from utils.training.run import train_network

    return train_network(with_ready_data(options), Darknet, pulled, cfg=cfg).path


def resume(words: Sequence[str], run: str, name: str, project: Path = RUNS) -> Path:
    """Go on with a run as these words of a command line ask; returns its folder."""
    folder = find_run(project, run, name)
    from models import Darknet
    from utils.training.build import Resumed
    from utils.training.checkpoint import load_for_resume
    from utils.training.run import train_network

    with alone(folder.path):  # from the reading of its checkpoint on
        checkpoint = load_for_resume(folder.last)
        parser = make_parser(__doc__, tuple(STRATEGIES))
        options = TrainOptions.of_flags(resumed_flags(parser, words, checkpoint["args"]))
        return train_network(options, Darknet, pulled, Resumed(folder, checkpoint)).path


def pulled(network: Any, options: SparsityOptions) -> Any:
    """What sparse training pulls in a `Network`: gammas with masks of channels, or all weights."""
    from utils.pruning.choice.coupled_targets import coupled_targets
    from utils.pruning.targets import planned_targets, sparsity_targets

    if options.on and options.penalty != "gammas":
        return coupled_targets(network, STRATEGIES[options.strategy], options.plan)
    if options.plan:
        return planned_targets(network, Path(options.plan))
    return sparsity_targets(network, STRATEGIES[options.strategy])


if __name__ == "__main__":
    run_main(main)
