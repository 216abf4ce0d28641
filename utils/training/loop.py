"""The training loop: epochs, batches, optimizer steps, and the scoring of the averaged weights."""

from __future__ import annotations

import copy
import itertools
import logging
import math
import time
from typing import cast

import torch
from torch import Tensor, nn

from ..command.errors import UserError
from ..command.progress import progress_bar
from ..data.loader import Batch, resize_batch
from ..detection.evaluate import collect, joined, measure
from ..detection.results import Metrics
from ..network.batch_norm.statistics import recalibrate_
from ..network.darknet import Network
from .batches import pick_size
from .checkpoint import Progress, Row, save, training_content, weights_content
from .distillation.unlabelled import labels_loss
from .epoch_lines import Pace, epoch_line
from .losses.loss import Losses, total
from .optimization.optimizer import set_rates
from .parts import Run
from .record import Record, scores
from .sparse.pull import gammas_by_layer

_ONE_VALUE = "Expected more than 1 value per channel"  # torch's words

logger = logging.getLogger("train")


def train(run: Run, progress: Progress, record: Record | None) -> None:
    """All epochs that are left; `record` is the first rank's.

    Raises UserError when the loss is no longer a number.
    """
    if progress.epoch == 0 and record is not None:
        record.gammas_per_layer("before", gammas_by_layer(run.model.layers))
    if progress.epoch == 0 and not run.options.after_epoch.nosave:
        save_last(run, progress)
    pace = Pace(progress.epoch, run.options.epochs)
    for epoch in range(progress.epoch, run.options.epochs):
        row = train_epoch(run, epoch, progress, record, pace)
        if not all(bool(tensor.isfinite().all()) for tensor in run.model.state_dict().values()):
            raise not_finite(run, "state of the network", epoch)
        if finish_epoch(run, epoch, row, progress, record, pace):
            patience = run.options.after_epoch.patience
            logger.info("no better epoch for %d epochs: stopping early", patience)
            break
    if record is not None:
        record.gammas_per_layer("after", gammas_by_layer(run.model.layers))


def finish_epoch(
    run: Run, epoch: int, row: Row, progress: Progress, record: Record | None, pace: Pace
) -> bool:
    """Score, save and write down what an epoch gave; whether training stops early."""
    wanted, epochs = run.options.after_epoch, run.options.epochs
    last = epoch + 1 == epochs
    scored = run.valid is not None and (last or not wanted.notest)
    if run.options.remeasured and (scored or last):
        remeasure(run)
    if scored:
        metrics = validate(run)
        progress.best_conf = metrics.best_conf
        row |= scores(metrics)
    progress.epoch = epoch + 1
    progress.rows.append(row)
    better = row.get("fitness", 0.0) > progress.best_fitness
    if better:
        progress.best_fitness, progress.best_epoch = row.get("fitness", 0.0), epoch
    stop = 0 < wanted.patience <= epoch - progress.best_epoch
    if last or stop or not wanted.nosave:
        # best.pt first: a run killed between the two repeats this epoch and writes it again.
        if (better or wanted.nosave) and run.ranks.first:
            content = weights_content(run.trainee, run.cfg_text, progress, run.spec.names)
            save(run.folder.best, content)
        save_last(run, progress)
    if record is not None:
        record.epoch(progress.rows, run.sparsity.magnitudes())
    line = epoch_line(row, epochs, better, run.options.sparsity.on, pace.left(epoch + 1))
    logger.info("%s", line)
    return stop


def save_last(run: Run, progress: Progress) -> None:
    """Write last.pt (the first rank alone)."""
    if run.ranks.first:
        args, names = run.options.saved(), run.spec.names
        content = training_content(run.trainee, run.cfg_text, progress, args, names)
        save(run.folder.last, content)
    progress.saved = progress.epoch


def train_epoch(run: Run, epoch: int, progress: Progress, record: Record | None, pace: Pace) -> Row:
    """One pass over the training images; returns its line of results.csv."""
    options, trainee = run.options, run.trainee
    accumulate = options.optimizer.accumulate
    run.loader.set_epoch(epoch, mosaic=epoch < options.epochs - options.images.close_mosaic)
    run.model.train()
    run.freezing.apply(run.model.layers, progress.step, anew=True)
    sums: dict[str, float] = {}
    lr, waiting, seen_before, start = 0.0, 0, progress.seen, time.perf_counter()
    title, done = f"epoch {epoch + 1}/{options.epochs}", epoch / max(options.epochs - 1, 1)
    batches = max(1, len(run.loader))
    part = (epoch, options.epochs)
    bar = progress_bar(run.loader, title, "batch", show=run.ranks.first, part=part)
    for number, batch in enumerate(bar):
        if epoch == 0 and record is not None:
            record.batch(number, batch)
        batch = fitted(run, batch, epoch, number)
        try:
            losses = batch_losses(run, batch, done)
        except ValueError as error:
            if _ONE_VALUE not in str(error):
                raise
            raise single_value(batch) from None
        add_finite(sums, losses, run, epoch)
        scaled = trainee.scaler.scale(total(losses) / accumulate)
        scaled.backward()  # type: ignore[no-untyped-call]
        progress.seen += len(batch.images) * run.ranks.world
        waiting += 1
        if waiting == accumulate:
            lr, waiting = update(run, progress), 0
        speed = (progress.seen - seen_before) / (time.perf_counter() - start)
        left = pace.left(epoch + (number + 1) / batches)
        parts = {name: f"{part / (number + 1):.3f}" for name, part in sums.items()}
        beside = {"images/s": f"{speed:.1f}", "whole run": f"{left} left", **parts}
        bar.set_postfix(beside, refresh=False)
    if waiting:  # the last group of an epoch may be shorter: each batch weighs the same
        lr = update(run, progress)
    seconds = time.perf_counter() - start
    gammas = run.sparsity.stats()
    return {
        "epoch": epoch,
        "lr": lr,
        **{f"loss/{name}": run.ranks.mean(part) / batches for name, part in sums.items()},
        "loss/total": run.ranks.mean(sum(sums.values())) / batches,
        "gamma/score": gammas.score,
        "gamma/near_zero": gammas.near_zero,
        "gamma/median": gammas.median,
        **run.sparsity.columns(),
        "time/seconds": seconds,
        "time/images_per_s": (progress.seen - seen_before) / seconds,
    }


def batch_losses(run: Run, batch: Batch, done: float = 0.0) -> Losses:
    """The parts of the loss of one batch; with a teacher, its part as well.

    `done`: 0 in the first epoch, 1 in the last.
    """
    loss = run.loss.at(done)
    images = images_in(batch, bool(run.options.machine.channels_last))
    distiller = run.distiller
    with run.precision.autocast():
        if distiller is None:
            return loss(run.network(images), batch.targets, size_of(batch))
        raw, values = run.network(images, observe=distiller.observed)
        taught = distiller(images, raw, values, batch.targets)
    labelled = run.loader.dataset.labelled
    return {**labels_loss(loss, raw, batch, labelled, run.ranks), **taught}


def update(run: Run, progress: Progress) -> float:
    """One optimizer step from the gradients at hand; returns its learning rate."""
    options, trainee = run.options, run.trainee
    lr = set_rates(trainee.optimizer, run.schedule, options.rates.lr0, progress.step)
    trainee.scaler.unscale_(trainee.optimizer)
    if trainee.masks is not None:
        trainee.masks.quiet_gradients_()
    norm = nn.utils.clip_grad_norm_(run.model.parameters(), options.optimizer.clip_norm or math.inf)
    # With a scaler, gradients may overflow now and then: it skips such a step by itself.
    if not (trainee.scaler.is_enabled() or math.isfinite(norm)):
        raise not_finite(run, "gradient", progress.epoch)
    done = progress.step / run.schedule.steps
    if options.sparsity.on:
        run.sparsity.add_grad_(done)
    trainee.scaler.step(trainee.optimizer)
    if options.sparsity.on:
        run.sparsity.shrink_(lr, done)
    if trainee.masks is not None:
        trainee.masks.hold_()
    trainee.scaler.update()
    trainee.optimizer.zero_grad(set_to_none=True)
    if trainee.ema is not None:
        trainee.ema.update_parameters(trainee.model)
    progress.step += 1
    run.freezing.apply(run.model.layers, progress.step)
    return lr


def add_finite(sums: dict[str, float], losses: Losses, run: Run, epoch: int) -> None:
    """Add the parts of the loss to their sums. Raises UserError when one is not a number."""
    # One transfer for all parts: each would wait for the device.
    values = torch.stack(list(losses.values())).tolist()
    for name, value in zip(losses, values, strict=True):
        if not math.isfinite(value):
            raise not_finite(run, f"{name} loss", epoch)
        sums[name] = sums.get(name, 0.0) + value


def single_value(batch: Batch) -> UserError:
    """The error that ends a run whose batches are too small for batch normalisation."""
    height, width = size_of(batch)
    return UserError(
        f"--batch-size: a batch of {len(batch.images)} at {width}x{height} px leaves a layer one "
        "value per channel, which has no variance to normalise by: take a larger --batch-size, "
        "or a larger --img-size"
    )


def not_finite(run: Run, what: str, epoch: int) -> UserError:
    """The error that ends a run which has diverged."""
    kept = run.folder.last if run.folder.last.exists() else "none (--nosave)"
    advice = "try a lower --lr0, or --amp off"
    return UserError(
        f"epoch {epoch + 1}: the {what} is not finite: {advice}; last good checkpoint: {kept}"
    )


def fitted(run: Run, batch: Batch, epoch: int, number: int) -> Batch:
    """The batch on the device, at another size with --multi-scale."""
    batch = batch.to(run.device)
    if not run.options.images.multi_scale:
        return batch
    stride = run.model.stride
    return resize_batch(batch, pick_size(size_of(batch), stride, run.options.seed, epoch, number))


def images_in(batch: Batch, channels_last: bool) -> Tensor:
    """float32 (B, 3, H, W), RGB in 0..1."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return batch.images.to(torch.float32, memory_format=layout) / 255


def size_of(batch: Batch) -> tuple[int, int]:
    """(height, width) of the images."""
    return batch.images.shape[2], batch.images.shape[3]


def remeasure(run: Run) -> None:
    """BN statistics of the averaged weights, measured on training images as they are in use.

    Averages of statistics lag behind gammas that shrink: what one would score and prune is a
    network that never was. Every rank measures the same. Frozen layers keep theirs.
    """
    assert run.plain is not None
    run.plain.set_epoch(0)
    wanted = -(-run.options.remeasured // run.options.images.batch_size)
    batches = itertools.islice(run.plain, wanted)
    layout = bool(run.options.machine.channels_last)
    averaged = run.trainee.averaged()
    frozen = cast(Network, averaged).layers[: run.freezing.held]
    before = copy.deepcopy(frozen.state_dict())
    recalibrate_(
        averaged, (images_in(b.to(run.device), layout) for b in batches if len(b.images) > 1)
    )
    frozen.load_state_dict(before)


def validate(run: Run) -> Metrics:
    """Score the averaged weights, in float32, BN folded in; each rank its share of the images."""
    assert run.valid is not None
    network = copy.deepcopy(run.trainee.averaged()).eval()
    network.answering_().fuse()  # type: ignore[operator]
    own = collect(network, run.valid, run.spec.nc, run.scoring(), progress=run.ranks.first)
    return measure(joined(run.ranks.gather(own)), run.spec.nc, run.spec.names)
