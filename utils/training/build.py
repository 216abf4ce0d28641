"""From options to a `Run`: the network, its data, and all else that the loop needs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ..cfg import Cfg, format_cfg
from ..command.errors import UserError
from ..command.machine.device import pick_device
from ..command.words.short_names import run_name
from ..data.darknet_files import DataSpec, load_data_file
from ..detection.score import require_classes
from ..network.cfg_of import read_cfg
from ..network.cost import count_macs
from ..network.darknet import Build, Network
from ..network.for_data.transfer import load_but_heads
from ..network.initialize import initialize
from ..network.int8.convert import put_on_grids
from ..network.int8.saved import RAW_KEY, ranges_in
from ..network.layers.strides import neighbours
from ..network.saved_masks import masks_in, read_masks
from ..network.weights import require_usable
from .batches import Loaders, make_loaders
from .checkpoint import Trainee
from .distillation.distiller import Distiller
from .distillation.links import links_to_teach
from .distillation.matching import require_same_subject
from .distillation.sight import Sight
from .losses.loss import DetectionLoss
from .optimization.ema import make_ema
from .optimization.freezing import Freezing
from .optimization.held_masks import HeldMasks
from .optimization.int8 import begin_in_int8
from .optimization.layout import Work, faster_layout, warn_if_slower
from .optimization.optimizer import make_optimizer
from .optimization.precision import Precision, cpu_has_bf16, resolve_precision
from .optimization.ranks import Ranks
from .optimization.schedule import epochs_for, make_schedule
from .options import StartOptions, TrainOptions
from .parts import Run
from .run_folder import RunFolder, new_run
from .sparse.coupled import Coupled
from .sparse.make import make_sparsity
from .sparse.options import SparsityOptions
from .sparse.pull import Targets

# What sparse training may pull in a network: train.py knows the prune scripts, utils does not.
FindTargets = Callable[[Network, SparsityOptions], Targets | Coupled]

logger = logging.getLogger("train")


@dataclass(frozen=True)
class Resumed:
    """A run that goes on: its folder, and what its last.pt holds."""

    folder: RunFolder
    checkpoint: Mapping[str, Any]


def build_run(
    options: TrainOptions,
    cfg: Cfg,
    build: Build,
    targets: FindTargets | None,
    resumed: Resumed | None,
    ranks: Ranks,
) -> Run:
    """Everything, with what the run decides itself decided; a new folder unless one is resumed.

    Raises UserError for what does not fit together.
    """
    options = options.decided(cfg)
    rates, frozen = options.rates, options.freeze
    device = pick_device(ranks.device(options.machine.device))
    precision = resolve_precision(options.machine.amp, device)
    spec = load_data_file(options.data)
    model = build(cfg, options.images.size)
    _prepare(model, options, spec, device, anew=resumed is None)
    freezing = Freezing.of(model.rules, frozen.layers, frozen.as_darknet, frozen.statistics)
    decay, later = options.optimizer.weight_decay, bool(freezing.until)
    optimizer = make_optimizer(model, rates.kind, rates.lr0, rates.momentum, decay, later)
    loaders = make_loaders(options, spec, model, device, ranks.share)
    options = _laid_out(options, model, precision, len(loaders.train), ranks)
    per_epoch = -(-len(loaders.train) // options.optimizer.accumulate)
    if options.schedule.max_batches and resumed is None:
        options = replace(options, epochs=epochs_for(options.schedule.max_batches, per_epoch))
    schedule = make_schedule(options.schedule, options.epochs, per_epoch, rates.momentum)
    found = targets(model, options.sparsity) if targets is not None else ()
    sparsity = make_sparsity(found, options.sparsity, rates, schedule)
    # A resumed run pulls as it did, whatever its gammas are by then.
    options = replace(options, sparsity=replace(options.sparsity, strength=sparsity.s))
    distiller = build_distiller(options, build, model, device, spec.names)
    _to_int8(options, model, loaders, resumed, device)
    network = ranks.wrap(model, some_unused=bool(freezing.layers or freezing.until))
    if options.machine.compile:
        network = cast(nn.Module, torch.compile(network))
    masks = _held_masks(options.start, resumed, model)
    ema = make_ema(model) if options.optimizer.ema else None
    return Run(
        options=options,
        loss=DetectionLoss(model.heads, options.loss, ranks),
        # Last of what can fail: a command with a mistake leaves no empty folder.
        folder=resumed.folder if resumed else _one_folder(options, ranks),
        spec=spec,
        device=device,
        ranks=ranks,
        model=model,
        network=network,
        trainee=Trainee(model, ema, optimizer, precision.scaler(), masks),
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


def _require_multiples(img_hw: tuple[int, int], stride: int) -> None:
    """Raise UserError, with the nearest that would do, for sides in pixels that fit no stride."""
    for side in img_hw:
        if side % stride:
            near = " or ".join(map(str, neighbours(side, stride)))
            rule = f"must be a multiple of {stride}, the network's stride"
            raise UserError(f"--img-size {side}: {rule}: {near}")


def _prepare(
    model: Any, options: TrainOptions, spec: DataSpec, device: torch.device, anew: bool
) -> None:
    """Give a network what it starts from if it trains `anew`, and hold and place it as asked.

    Raises UserError if it does not fit the data.
    """
    require_classes(spec, model)
    _require_multiples(model.img_size, model.stride)
    initialize(model.layers, model.heads)
    if options.start.weights and anew:
        _load_start(model, options.start)
        require_usable(model.state_dict(), options.start.weights)
    if options.machine.sync_bn:
        if device.type != "cuda":
            raise UserError("--sync-bn: torch has it for GPUs only")
        torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    if options.freeze.but_heads:
        last = {f"layers.{source}." for head in model.heads for source in head.sources}
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(tuple(last)))
    model.to(device)


def _laid_out(
    options: TrainOptions, model: Any, precision: Precision, batches: int, ranks: Ranks
) -> TrainOptions:
    """The options with the layout in memory decided, which the model gets."""
    machine, images = options.machine, options.images
    shape = (model.in_channels, *model.img_size)
    size = max(1, images.batch_size // ranks.world)
    last = machine.channels_last
    if last is None:
        work = Work(size, batches * options.epochs, count_macs(model.rules))
        text = format_cfg(model.cfg)
        last = ranks.same(ranks.first and faster_layout(model, shape, precision, work, text))
    if machine.amp == "bf16" and precision.device_type == "cpu" and not cpu_has_bf16():
        warn_if_slower(model, shape, precision, size)
    model.to(memory_format=torch.channels_last if last else torch.contiguous_format)
    return replace(options, machine=replace(machine, channels_last=last))


def _load_start(model: Any, start: StartOptions) -> None:
    """Load the weights; where they were trained for other classes, all but the heads' last layers.

    Raises UserError for weights of another network.
    """
    try:
        model.load_weights(start.weights, start.cutoff)
    except UserError:
        own = model.state_dict()
        usable = start.cutoff is None and not start.strict
        state = load_but_heads(start.weights, model.cfg, own) if usable else None
        if state is None:
            raise
        model.load_state({**own, **state}, start.weights)
        logger.info(
            "%s: is for other classes: %d of %d tensors loaded, not the heads' last layers",
            start.weights, len(state), len(own),
        )  # fmt: skip


def build_distiller(
    options: TrainOptions,
    build: Build,
    student: Network,
    device: torch.device,
    names: Sequence[str] = (),
) -> Distiller | None:
    """The teacher, frozen, with what it is asked; None without one.

    `names`: of the classes. Raises UserError where it has nothing to say to this student.
    """
    asked = options.teacher
    if not asked.cfg:
        return None
    teacher = build(read_cfg(asked.cfg), asked.size or student.img_size)
    teacher.load_weights(asked.weights)
    require_usable(teacher.state_dict(), asked.weights)
    require_same_subject(teacher, student, names)
    teacher.fuse().eval().requires_grad_(False).to(device)
    if options.machine.channels_last:
        teacher.to(memory_format=torch.channels_last)
    linked = links_to_teach(asked, options.cfg, student.rules, teacher.rules)
    sight = Sight.of(teacher, student.img_size)
    return Distiller(teacher, student.heads, asked.lessons, linked, options.loss.iou_t, sight)


def _to_int8(
    options: TrainOptions,
    model: Network,
    loaders: Loaders,
    resumed: Resumed | None,
    device: torch.device,
) -> None:
    """With --int8, rounded values and kernels from here on; a resumed run has its own ranges."""
    if not options.int8:
        return
    if resumed is not None:
        put_on_grids(model, ranges_in(resumed.checkpoint, resumed.folder.last, RAW_KEY))
        return
    assert loaders.plain is not None
    loaders.plain.set_epoch(0)
    begin_in_int8(model, loaders.plain, device)


def _held_masks(start: StartOptions, resumed: Resumed | None, model: nn.Module) -> HeldMasks | None:
    """The masks to start with; a resumed run has its own copy of them."""
    if resumed is None:
        return HeldMasks.of(model, read_masks(start.masks), start.masks) if start.masks else None
    masks = masks_in(resumed.checkpoint, "the run to resume")
    return None if masks is None else HeldMasks.of(model, masks, "the run to resume")


def _one_folder(options: TrainOptions, ranks: Ranks) -> RunFolder:
    """A new folder, made by the first process."""
    made = None
    if ranks.first:
        name = options.name or run_name(options.cfg)
        made = new_run(Path(options.project), name, options.exist_ok)
    return ranks.same(made) or RunFolder(Path())
