"""A whole training, as a function: from options to the folder of a run.

    from models import Darknet
    from utils.training.options import TrainOptions
    from utils.training.run import train_network

    run = train_network(TrainOptions(cfg="cfg/my.cfg", data="data/my.data", epochs=3), Darknet)

This is train.py without its command line.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from ..cfg import Cfg, parse_cfg
from ..command.errors import UserError
from ..command.files import alone, cannot_write
from ..command.machine.allocator import keep_freed_memory
from ..network.cfg_of import read_cfg
from ..network.darknet import Build
from .build import FindTargets, Resumed, build_run
from .checkpoint import Progress, copies_are_due, leave_copies, restore
from .ending import best_scores, files, interrupted, what_next
from .epoch_lines import summary
from .head import head, resumed_head
from .loop import train
from .optimization.ranks import started_ranks
from .options import TrainOptions
from .parts import Run
from .record import Record
from .run_folder import RUNS, RunFolder
from .run_pictures import write_results, write_scores

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
        try:
            run = build_run(options, cfg or read_cfg(options.cfg), build, targets, resumed, ranks)
        except KeyboardInterrupt:
            logger.info("no epoch has begun: nothing is saved of this run")
            raise
        with alone(run.folder.path) if ranks.first else nullcontext():
            _go_on(run, options, resumed)
    return run.folder


def _go_on(run: Run, options: TrainOptions, resumed: Resumed | None) -> None:
    """Train a run that nobody else is at, from where it is. Raises UserError where it is done."""
    progress = restore(resumed.checkpoint, run.trainee) if resumed else Progress()
    if progress.epoch >= run.options.epochs:
        if _is_usual(run.folder) and copies_are_due(run.folder, WEIGHTS):
            leave_copies(run.folder, WEIGHTS)
        raise UserError(
            f"{run.folder.last}: its {run.options.epochs} epochs are done; --epochs N adds more"
        )
    if run.ranks.first:
        _lead(
            run,
            progress,
            head(run, options) if resumed is None else resumed_head(run, progress),
        )
    else:
        train(run, progress, None)


def _is_usual(folder: RunFolder) -> bool:
    """Whether it lies where the newest run's checkpoints are left in `WEIGHTS` as well."""
    return folder.path.parent == RUNS


def _lead(run: Run, progress: Progress, said_first: Sequence[str]) -> None:
    """The first process: trains, writes, and says what came out."""
    run.folder.write_args(run.options.saved())
    with Record(run, progress.epoch) as record:
        for line in said_first:
            logger.info("%s", line)
        try:
            train(run, progress, record)
        except KeyboardInterrupt:
            logger.info("interrupted; %s", interrupted(run, progress))
            raise KeyboardInterrupt("said") from None
        except OSError as error:
            if error.filename is not None:
                raise
            raise cannot_write(run.folder.path, error) from None  # TensorBoard names no file
    print(summary(progress, run.options.sparsity.on), flush=True)
    found = None
    if not run.options.after_epoch.noplots:
        write_results(run, progress)
        found = write_scores(run)
    if found is not None:
        print(best_scores(found), flush=True)
    print(files(run.folder), flush=True)
    if _is_usual(run.folder):
        leave_copies(run.folder, WEIGHTS)
    print(what_next(run, found), flush=True)
