"""Train a detector: base training, sparse training, finetuning.

    python train.py --cfg cfg/my.cfg --data data/my.data --epochs 100
    python train.py --cfg cfg/my.cfg --data data/my.data --weights best.pt -sr --s 0.001
    python train.py --cfg cfg/prune_0.8_my.cfg --data data/my.data --weights prune_0.8_my.weights
    python train.py --cfg cfg/my.cfg --data data/my.data --weights m.pt --masks m.pt
    python train.py --cfg cfg/my.cfg --data data/my.data --hyp-from-cfg
    python train.py --cfg cfg/prune_0.8_my.cfg --data data/my.data --weights prune_0.8_my.weights \
        --t_cfg cfg/my.cfg --t_weights best.pt --distill feature
    python train.py --resume --name my
    torchrun --nproc_per_node=4 -- train.py --cfg cfg/my.cfg --data data/my.data

A run writes to runs/train/NAME: last.pt (go on with --resume), best.pt, args.json, results.csv and
TensorBoard files (tensorboard --logdir runs); copies of both checkpoints go to weights/. best.pt is
the epoch with the highest fitness, the mean of mAP@.5 and mAP@.5:.95 of the averaged weights; all
epochs are scored with the same thresholds.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

import prune
import shortcut_prune
import slim_prune
from models import Darknet
from utils.cfg import Cfg, format_cfg, load_cfg, parse_cfg
from utils.command.allocator import keep_freed_memory
from utils.command.cli import img_size, run_main
from utils.command.device import pick_device
from utils.command.errors import UserError
from utils.data.darknet_files import DataSpec, load_data_file
from utils.masks.files import masks_in, read_masks
from utils.network.initialize import initialize
from utils.network.layers.strides import neighbours
from utils.network.transfer import load_but_heads
from utils.pruning.targets import planned_targets, sparsity_targets
from utils.training.batches import make_loaders
from utils.training.cfg_recipe import epochs_for, with_recipe
from utils.training.checkpoint import Progress, Trainee, load_for_resume, restore
from utils.training.distillation.distiller import Distiller
from utils.training.distillation.flags import make_distiller
from utils.training.flags import (
    chosen_rates,
    loss_options,
    make_parser,
    make_schedule,
    parse_resumed,
)
from utils.training.hyp import with_hyp
from utils.training.loop import train
from utils.training.losses.loss import DetectionLoss
from utils.training.optimization.ema import make_ema
from utils.training.optimization.freezing import Freezing
from utils.training.optimization.held_masks import HeldMasks
from utils.training.optimization.optimizer import make_optimizer
from utils.training.optimization.precision import resolve_precision
from utils.training.optimization.ranks import Ranks, started_ranks
from utils.training.record import Record, summary
from utils.training.run import Run
from utils.training.run_folder import RunFolder, find_run, leave_copies, new_run
from utils.training.sparse.flags import chosen_remeasure, make_sparsity, strategy_name

RUNS = Path("runs/train")
# Where the newest run's checkpoints are left as well: the place that people know.
WEIGHTS = Path("weights")
# Sparse training penalises exactly what the named script may remove.
STRATEGIES = {
    "prune": prune.STRATEGY,
    "shortcut_prune": shortcut_prune.STRATEGY,
    "slim_prune": slim_prune.STRATEGY,
}

logger = logging.getLogger("train")


def main(argv: Sequence[str] | None = None) -> Path:
    """Run the command; returns the run's folder."""
    args, resumed, checkpoint = open_run(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    keep_freed_memory()
    torch.manual_seed(args.seed)
    with started_ranks() as ranks:
        run = build(args, resumed, checkpoint, ranks)
        progress = restore(checkpoint, run.trainee) if checkpoint else Progress()
        if progress.epoch >= args.epochs:
            raise UserError(
                f"{run.folder.last}: its {args.epochs} epochs are done; --epochs N adds more"
            )
        if ranks.first:
            work(run, progress)
        else:
            train(run, progress, None)
    return run.folder.path


def work(run: Run, progress: Progress) -> None:
    """The first process: trains, writes, and says what came out."""
    folder = run.folder
    folder.write_args(vars(run.args))
    logger.info("%s: epochs %d to %d", folder.path, progress.epoch + 1, run.args.epochs)
    with Record(folder.path, progress.epoch) as record:
        train(run, progress, record)
    print(summary(progress))
    print(f"{folder.path}: {', '.join(sorted(path.name for path in folder.path.iterdir()))}")
    leave_copies(folder, WEIGHTS)


def open_run(
    argv: Sequence[str] | None,
) -> tuple[argparse.Namespace, RunFolder | None, dict[str, Any] | None]:
    """Arguments and, when a run is resumed, its folder and checkpoint."""
    parser = make_parser(__doc__, tuple(STRATEGIES))
    argv = with_hyp(parser, sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(argv)
    if args.resume is None:
        return with_recipe(args, parser, argv), None, None
    folder = find_run(RUNS, args.resume, args.name)
    checkpoint = load_for_resume(folder.last)
    return parse_resumed(parser, argv, checkpoint["args"]), folder, checkpoint


def build(
    args: argparse.Namespace,
    resumed: RunFolder | None,
    checkpoint: dict[str, Any] | None,
    ranks: Ranks,
) -> Run:
    """Model, data and all else that the loop needs; a new folder unless a run is resumed."""
    device = pick_device(ranks.device(args.device))
    precision = resolve_precision(args.amp, device)
    spec = load_data_file(args.data)
    # A resumed run has its own copy of the cfg: the file may have changed, or gone.
    cfg = parse_cfg(checkpoint["cfg"], args.cfg) if checkpoint else load_cfg(args.cfg)
    model = build_model(cfg, args, spec, device, start=checkpoint is None).to(device)
    if args.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    args.optimizer, args.lr0, args.momentum = chosen_rates(args)
    args.remeasure = chosen_remeasure(args)
    optimizer = make_optimizer(model, args.optimizer, args.lr0, args.momentum, args.weight_decay)
    loaders = make_loaders(args, spec, model.cfg, model.img_size, device, (ranks.rank, ranks.world))
    per_epoch = -(-len(loaders.train) // args.accumulate)
    if args.max_batches and checkpoint is None:
        args.epochs = epochs_for(args.max_batches, per_epoch)
    schedule = make_schedule(args, per_epoch)
    sparsity = make_sparsity(pulled(model, args), args, schedule)
    args.s = sparsity.s  # a resumed run pulls as it did, whatever its gammas are by then
    freezing = Freezing.of(model.rules, args.freeze, args.hyp_from_cfg, args.freeze_bn)
    distiller = build_distiller(args, model, device)
    loss = DetectionLoss(model.heads, loss_options(args), ranks)
    network: Any = ranks.wrap(model, some_unused=bool(freezing.layers or freezing.until))
    if args.compile:
        network = cast(nn.Module, torch.compile(network))
    masks = held_masks(args, checkpoint, model)
    ema = make_ema(model) if args.ema else None
    return Run(
        args=args,
        # Last of what can fail: a command with a mistake leaves no empty folder.
        folder=resumed or one_folder(args, ranks),
        spec=spec,
        device=device,
        ranks=ranks,
        model=model,
        network=network,
        trainee=Trainee(model, ema, optimizer, precision.scaler(), masks),
        loss=loss,
        distiller=distiller,
        sparsity=sparsity,
        freezing=freezing,
        precision=precision,
        schedule=schedule,
        loader=loaders.train,
        valid=loaders.valid,
        plain=loaders.plain,
        cfg_text=format_cfg(model.cfg),
    )


def one_folder(args: argparse.Namespace, ranks: Ranks) -> RunFolder:
    """A new folder, made by the first process."""
    made = new_run(RUNS, args.name or Path(args.cfg).stem) if ranks.first else None
    return ranks.same(made) or RunFolder(Path())


def held_masks(
    args: argparse.Namespace, checkpoint: dict[str, Any] | None, model: Darknet
) -> HeldMasks | None:
    """The masks of `--masks`; a resumed run has its own copy of them."""
    if checkpoint is None:
        return HeldMasks.of(model, read_masks(args.masks), args.masks) if args.masks else None
    masks = masks_in(checkpoint, "the run to resume")
    return None if masks is None else HeldMasks.of(model, masks, "the run to resume")


def build_model(
    cfg: Cfg, args: argparse.Namespace, spec: DataSpec, device: torch.device, start: bool
) -> Darknet:
    """The network, with its starting weights if `start`. UserError if it does not fit the data."""
    model = Darknet(cfg, img_size(args.img_size))
    if model.nc != spec.nc:
        raise UserError(
            f"{args.cfg}: is made for {model.nc} classes, but {args.data} has {spec.nc}; "
            "make_cfg.py writes a cfg for a data set"
        )
    for side in model.img_size:
        if side % model.stride:
            near = " or ".join(map(str, neighbours(side, model.stride)))
            raise UserError(
                f"--img_size {side}: must be a multiple of {model.stride}, the network's stride: "
                f"{near}"
            )
    initialize(model.layers, model.heads)
    if args.weights and start:
        load_start(model, args)
    if args.sync_bn:
        if device.type != "cuda":
            raise UserError("--sync-bn: torch has it for GPUs only")
        torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    if args.transfer:
        last = {f"layers.{source}." for head in model.heads for source in head.sources}
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(tuple(last)))
    return model


def load_start(model: Darknet, args: argparse.Namespace) -> None:
    """Load `--weights`; where they were trained for other classes, all but the heads' last layers.

    Raises UserError for weights of another network.
    """
    try:
        model.load_weights(args.weights, args.cutoff)
    except UserError:
        own = model.state_dict()
        usable = args.cutoff is None and not args.strict_weights
        state = load_but_heads(args.weights, model.cfg, own) if usable else None
        if state is None:
            raise
        model.load_state({**own, **state}, args.weights)
        logger.info(
            "%s: is for other classes: %d of %d tensors loaded, not the heads' last layers",
            args.weights, len(state), len(own),
        )  # fmt: skip


def pulled(model: Darknet, args: argparse.Namespace) -> list[tuple[nn.Parameter, Tensor]]:
    """The gammas that sparse training pulls, with masks of their channels."""
    if args.sparsity_plan:
        return planned_targets(model, Path(args.sparsity_plan))
    return sparsity_targets(model, STRATEGIES[strategy_name(args)])


def build_distiller(
    args: argparse.Namespace, student: Darknet, device: torch.device
) -> Distiller | None:
    """The teacher of `--t_cfg`, frozen, with what it is asked; None without one."""
    if not args.t_cfg:
        if args.t_weights:
            raise UserError("--t_weights: needs the teacher's structure, too: --t_cfg")
        return None
    teacher = Darknet(load_cfg(args.t_cfg), student.img_size)
    if not args.t_weights:
        raise UserError("--t_cfg: a teacher without --t_weights knows nothing")
    teacher.load_weights(args.t_weights)
    if teacher.nc != student.nc:
        raise UserError(
            f"--t_cfg: the teacher knows {teacher.nc} classes, the student {student.nc}"
        )
    teacher.fuse().eval().requires_grad_(False).to(device)
    if args.channels_last:
        teacher.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return make_distiller(args, teacher, student.rules, student.heads)


if __name__ == "__main__":
    run_main(main)
