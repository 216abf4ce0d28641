"""Train a detector: base training, sparse training, finetuning.

    python train.py --cfg cfg/my.cfg --data data/my.data --epochs 100
    python train.py --cfg cfg/my.cfg --data data/my.data --weights best.pt -sr --s 0.001
    python train.py --cfg cfg/prune_0.8_my.cfg --data data/my.data --weights prune_0.8_my.weights
    python train.py --cfg cfg/my.cfg --data data/my.data --hyp-from-cfg
    python train.py --resume --name my

A run writes to runs/train/NAME: last.pt (go on with --resume), best.pt, args.json, results.csv and
TensorBoard files (tensorboard --logdir runs). best.pt is the epoch with the highest fitness, the
mean of mAP@.5 and mAP@.5:.95 of the averaged weights; all epochs are scored with the same
thresholds.
"""

from __future__ import annotations

import argparse
import copy
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import prune
import shortcut_prune
import slim_prune
from models import Darknet
from utils.cfg import Cfg, format_cfg, load_cfg, parse_cfg
from utils.cfg_flags import chosen_nms
from utils.cli import img_size, pick_device, run_main
from utils.data import Batch, DataSpec, Loader, load_data_file, resize_batch
from utils.errors import UserError
from utils.evaluate import Metrics, evaluate
from utils.progress import progress_bar
from utils.pruning import sparsity_targets
from utils.training.allocator import keep_freed_memory
from utils.training.batches import make_loaders, pick_size
from utils.training.cfg_recipe import epochs_for, with_recipe
from utils.training.checkpoint import (
    Progress,
    Row,
    Trainee,
    load_for_resume,
    restore,
    save,
    training_content,
    weights_content,
)
from utils.training.ema import make_ema
from utils.training.flags import (
    chosen_rates,
    loss_options,
    make_parser,
    make_schedule,
    make_sparsity,
    parse_resumed,
    strategy_name,
)
from utils.training.initialize import initialize
from utils.training.loss import DetectionLoss, Losses, total
from utils.training.optimizer import make_optimizer, set_rates
from utils.training.precision import Precision, resolve_precision
from utils.training.record import Record, one_line, scores, summary
from utils.training.run_folder import RunFolder, find_run, new_run
from utils.training.schedule import Schedule
from utils.training.sparsity import Sparsity, gammas_by_layer

RUNS = Path("runs/train")
# Sparse training penalises exactly what the named script may remove.
STRATEGIES = {
    "prune": prune.STRATEGY,
    "shortcut_prune": shortcut_prune.STRATEGY,
    "slim_prune": slim_prune.STRATEGY,
}

logger = logging.getLogger("train")


@dataclass(frozen=True)
class Parts:
    """What the loop works with; only the trainee and the progress change."""

    args: argparse.Namespace
    folder: RunFolder
    spec: DataSpec
    device: torch.device
    model: Darknet
    trainee: Trainee
    loss: DetectionLoss
    sparsity: Sparsity
    precision: Precision
    schedule: Schedule
    loader: Loader
    valid: Loader | None
    cfg_text: str


def main(argv: Sequence[str] | None = None) -> Path:
    """Run the command; returns the run's folder."""
    args, resumed, checkpoint = open_run(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    keep_freed_memory()
    torch.manual_seed(args.seed)
    parts = build(args, resumed, checkpoint)
    folder = parts.folder
    progress = restore(checkpoint, parts.trainee) if checkpoint else Progress()
    if progress.epoch >= args.epochs:
        raise UserError(f"{folder.last}: its {args.epochs} epochs are done; --epochs N adds more")
    folder.write_args(vars(args))
    logger.info("%s: epochs %d to %d", folder.path, progress.epoch + 1, args.epochs)
    with Record(folder.path, progress.epoch) as record:
        train(parts, progress, record)
    print(summary(progress))
    print(f"{folder.path}: {', '.join(sorted(path.name for path in folder.path.iterdir()))}")
    return folder.path


def open_run(
    argv: Sequence[str] | None,
) -> tuple[argparse.Namespace, RunFolder | None, dict[str, Any] | None]:
    """Arguments and, when a run is resumed, its folder and checkpoint."""
    parser = make_parser(__doc__, tuple(STRATEGIES))
    args = parser.parse_args(argv)
    if args.resume is None:
        return with_recipe(args, parser, argv), None, None
    folder = find_run(RUNS, args.resume, args.name)
    checkpoint = load_for_resume(folder.last)
    return parse_resumed(parser, argv, checkpoint["args"]), folder, checkpoint


def train(parts: Parts, progress: Progress, record: Record) -> None:
    """All epochs that are left. Raises UserError when the loss is no longer a number."""
    args, folder = parts.args, parts.folder
    if progress.epoch == 0:
        record.gammas_per_layer("before", gammas_by_layer(parts.model.layers))
    if progress.epoch == 0 and not args.nosave:
        save(folder.last, training_content(parts.trainee, parts.cfg_text, progress, vars(args)))
    for epoch in range(progress.epoch, args.epochs):
        row = train_epoch(parts, epoch, progress, record)
        if not all(bool(tensor.isfinite().all()) for tensor in parts.model.state_dict().values()):
            raise not_finite(parts, "state of the network", epoch)
        last = epoch + 1 == args.epochs
        if parts.valid is not None and (last or not args.notest):
            row |= scores(validate(parts, progress=False))
        progress.epoch = epoch + 1
        progress.rows.append(row)
        better = row.get("fitness", 0.0) > progress.best_fitness
        if better:
            progress.best_fitness, progress.best_epoch = row.get("fitness", 0.0), epoch
        stop = 0 < args.patience <= epoch - progress.best_epoch
        if last or stop or not args.nosave:
            # best.pt first: a run killed between the two repeats this epoch and writes it again.
            if better or args.nosave:
                save(folder.best, weights_content(parts.trainee, parts.cfg_text, progress))
            save(folder.last, training_content(parts.trainee, parts.cfg_text, progress, vars(args)))
        record.epoch(progress.rows, parts.sparsity.magnitudes())
        logger.info("epoch %d/%d  %s", epoch + 1, args.epochs, one_line(row))
        if stop:
            logger.info("no better epoch for %d epochs: stopping early", args.patience)
            break
    record.gammas_per_layer("after", gammas_by_layer(parts.model.layers))


def train_epoch(parts: Parts, epoch: int, progress: Progress, record: Record) -> Row:
    """One pass over the training images; returns its line of results.csv."""
    args, trainee = parts.args, parts.trainee
    parts.loader.set_epoch(epoch, mosaic=epoch < args.epochs - args.close_mosaic)
    parts.model.train()
    sums: dict[str, float] = {}
    lr, waiting, seen_before, start = 0.0, 0, progress.seen, time.perf_counter()
    bar = progress_bar(parts.loader, f"epoch {epoch + 1}/{args.epochs}", "batch")
    for number, batch in enumerate(bar):
        if epoch == number == 0:
            record.first_batch(batch)
        batch = fitted(parts, batch, epoch, number)
        with parts.precision.autocast():
            raw = parts.model(images_in(batch, args.channels_last))
        losses = parts.loss(raw, batch.targets, size_of(batch))
        value = total(losses)
        add_finite(sums, losses, parts, epoch)
        trainee.scaler.scale(value / args.accumulate).backward()
        progress.seen += len(batch.images)
        waiting += 1
        if waiting == args.accumulate:
            lr, waiting = update(parts, progress), 0
        bar.set_postfix({name: f"{part / (number + 1):.3f}" for name, part in sums.items()})
    if waiting:  # the last group of an epoch may be shorter: each batch weighs the same
        lr = update(parts, progress)
    batches = max(1, len(parts.loader))
    seconds = time.perf_counter() - start
    gammas = parts.sparsity.stats()
    return {
        "epoch": epoch,
        "lr": lr,
        **{f"loss/{name}": part / batches for name, part in sums.items()},
        "loss/total": sum(sums.values()) / batches,
        "gamma/near_zero": gammas.near_zero,
        "gamma/median": gammas.median,
        "time/seconds": seconds,
        "time/images_per_s": (progress.seen - seen_before) / seconds,
    }


def update(parts: Parts, progress: Progress) -> float:
    """One optimizer step from the gradients at hand; returns its learning rate."""
    args, trainee = parts.args, parts.trainee
    lr = set_rates(trainee.optimizer, parts.schedule, args.lr0, progress.step)
    trainee.scaler.unscale_(trainee.optimizer)
    norm = nn.utils.clip_grad_norm_(parts.model.parameters(), args.clip_norm or math.inf)
    # With a scaler, gradients may overflow now and then: it skips such a step by itself.
    if not (trainee.scaler.is_enabled() or math.isfinite(norm)):
        raise not_finite(parts, "gradient", progress.epoch)
    if args.sparsity_regularization:
        parts.sparsity.add_grad_(progress.step / parts.schedule.steps)
    trainee.scaler.step(trainee.optimizer)
    trainee.scaler.update()
    trainee.optimizer.zero_grad(set_to_none=True)
    if trainee.ema is not None:
        trainee.ema.update_parameters(parts.model)
    progress.step += 1
    return lr


def add_finite(sums: dict[str, float], losses: Losses, parts: Parts, epoch: int) -> None:
    """Add the parts of the loss to their sums. Raises UserError when one is not a number."""
    # One transfer for all parts: each would wait for the device.
    values = torch.stack(list(losses.values())).tolist()
    for name, value in zip(losses, values, strict=True):
        if not math.isfinite(value):
            raise not_finite(parts, f"{name} loss", epoch)
        sums[name] = sums.get(name, 0.0) + value


def not_finite(parts: Parts, what: str, epoch: int) -> UserError:
    """The error that ends a run which has diverged."""
    kept = parts.folder.last if parts.folder.last.exists() else "none (--nosave)"
    advice = "try a lower --lr0, or --amp off"
    return UserError(
        f"epoch {epoch + 1}: the {what} is not finite: {advice}; last good checkpoint: {kept}"
    )


def fitted(parts: Parts, batch: Batch, epoch: int, number: int) -> Batch:
    """The batch on the device, at another size with --multi-scale."""
    batch = batch.to(parts.device)
    if not parts.args.multi_scale:
        return batch
    stride = parts.model.stride
    return resize_batch(batch, pick_size(size_of(batch), stride, parts.args.seed, epoch, number))


def images_in(batch: Batch, channels_last: bool) -> Tensor:
    """float32 (B, 3, H, W), RGB in 0..1."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return batch.images.to(torch.float32, memory_format=layout) / 255


def size_of(batch: Batch) -> tuple[int, int]:
    """(height, width) of the images."""
    return batch.images.shape[2], batch.images.shape[3]


def validate(parts: Parts, progress: bool) -> Metrics:
    """Score the averaged weights, in float32, BN folded in."""
    assert parts.valid is not None
    network = copy.deepcopy(parts.trainee.averaged())
    assert isinstance(network, Darknet)
    return evaluate(
        network.eval().fuse(),
        parts.valid,
        parts.spec.nc,
        parts.spec.names,
        nms_kind=chosen_nms(parts.args.nms, parts.model.heads[-1].section),
        device=parts.device,
        channels_last=parts.args.channels_last,
        progress=progress,
    )


def build(
    args: argparse.Namespace, resumed: RunFolder | None, checkpoint: dict[str, Any] | None
) -> Parts:
    """Model, data and all else that the loop needs; a new folder unless a run is resumed."""
    device = pick_device(args.device)
    precision = resolve_precision(args.amp, device)
    spec = load_data_file(args.data)
    # A resumed run has its own copy of the cfg: the file may have changed, or gone.
    cfg = parse_cfg(checkpoint["cfg"], args.cfg) if checkpoint else load_cfg(args.cfg)
    model = build_model(cfg, args, spec, start=checkpoint is None).to(device)
    if args.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    args.optimizer, args.lr0, args.momentum = chosen_rates(args)
    optimizer = make_optimizer(model, args.optimizer, args.lr0, args.momentum, args.weight_decay)
    ema = make_ema(model) if args.ema else None
    loader, valid = make_loaders(args, spec, model.cfg, model.img_size, device)
    per_epoch = -(-len(loader) // args.accumulate)
    if args.max_batches and checkpoint is None:
        args.epochs = epochs_for(args.max_batches, per_epoch)
    loss = DetectionLoss(model.heads, loss_options(args))
    return Parts(
        args=args,
        # Last of what can fail: a command with a mistake leaves no empty folder.
        folder=resumed or new_run(RUNS, args.name or Path(args.cfg).stem),
        spec=spec,
        device=device,
        model=model,
        trainee=Trainee(model, ema, optimizer, precision.scaler()),
        loss=loss,
        sparsity=make_sparsity(sparsity_targets(model, STRATEGIES[strategy_name(args)]), args),
        precision=precision,
        schedule=make_schedule(args, per_epoch),
        loader=loader,
        valid=valid,
        cfg_text=format_cfg(model.cfg),
    )


def build_model(cfg: Cfg, args: argparse.Namespace, spec: DataSpec, start: bool) -> Darknet:
    """The network, with its starting weights if `start`. UserError if it does not fit the data."""
    model = Darknet(cfg, img_size(args.img_size))
    if model.nc != spec.nc:
        raise UserError(
            f"{args.cfg}: is made for {model.nc} classes, but {args.data} has {spec.nc}; "
            "make_cfg.py writes a cfg for a data set"
        )
    if any(side % model.stride for side in model.img_size):
        raise UserError(f"--img_size: {model.img_size} must be multiples of {model.stride}")
    initialize(model.layers, model.heads)
    if args.weights and start:
        model.load_weights(args.weights, args.cutoff)
    if args.transfer:
        last = {f"layers.{head.sources[0]}." for head in model.heads}
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(tuple(last)))
    return model


if __name__ == "__main__":
    run_main(main)
