"""A whole training, as a function: from options to the folder of a run.

    from models import Darknet
    from utils.training.options import TrainOptions
    from utils.training.run import train_network

    run = train_network(TrainOptions(cfg="cfg/my.cfg", data="data/my.data", epochs=3), Darknet)

This is train.py without its command line.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from ..cfg import Cfg, load_cfg, parse_cfg
from ..command.errors import UserError
from ..command.machine.allocator import keep_freed_memory
from ..network.darknet import Build
from .build import FindTargets, Resumed, build_run
from .checkpoint import Progress, leave_copies, restore
from .epoch_lines import summary
from .loop import train
from .optimization.ranks import started_ranks
from .options import TrainOptions
from .parts import Run
from .record import Record
from .run_folder import RunFolder

# Where the newest run's checkpoints are left as well: the place that people know.
WEIGHTS = Path("weights")

logger = logging.getLogger("train")


def train_network(
    options: TrainOptions,
    build: Build,
    targets: FindTargets | None = None,
    resumed: Resumed | None = None,
    cfg: Cfg | None = None,
) -> RunFolder:
    """Train, and leave all that train.py leaves; the folder with last.pt and best.pt.

    `build` is `models.Darknet`. `targets` finds the gammas that sparse training pulls, and whose
    sizes any run writes down; `train.pulled` does. `options` of a `resumed` run are those of its
    checkpoint. `cfg` is that of the options where it is parsed already. Raises UserError for a
    mistake in the options or in the files that they name.
    """
    if options.sparsity.on and targets is None:
        raise ValueError("sparse training needs `targets`, the gammas to pull, as train.pulled")
    if options.machine.threads:
        torch.set_num_threads(options.machine.threads)
    keep_freed_memory()
    torch.manual_seed(options.seed)
    if resumed is not None:
        # A run has its own copy: the file may have changed, or gone.
        cfg = parse_cfg(resumed.checkpoint["cfg"], options.cfg)
    with started_ranks() as ranks:
        run = build_run(options, cfg or load_cfg(options.cfg), build, targets, resumed, ranks)
        progress = restore(resumed.checkpoint, run.trainee) if resumed else Progress()
        if progress.epoch >= run.options.epochs:
            raise UserError(
                f"{run.folder.last}: its {run.options.epochs} epochs are done; --epochs N adds more"
            )
        if ranks.first:
            _lead(run, progress)
        else:
            train(run, progress, None)
    return run.folder


def _lead(run: Run, progress: Progress) -> None:
    """The first process: trains, writes, and says what came out."""
    folder = run.folder
    folder.write_args(run.options.saved())
    logger.info("%s: epochs %d to %d", folder.path, progress.epoch + 1, run.options.epochs)
    with Record(folder.path, progress.epoch) as record:
        train(run, progress, record)
    print(summary(progress, run.options.sparsity.on))
    print(f"{folder.path}: {', '.join(sorted(path.name for path in folder.path.iterdir()))}")
    leave_copies(folder, WEIGHTS)
