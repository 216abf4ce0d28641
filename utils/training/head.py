"""What a run says before its first epoch: what trains on what, and each value nobody gave."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..detection.as_the_cfg_says import FROM_CFG
from ..network.cost import count_macs, count_parameters, short_count
from ..network.two_sets import two_sets_line
from .checkpoint import Progress
from .losses.options import DFL_GAINS, GAINS
from .options import TrainOptions
from .parts import Run

_BY_DEFAULT = " (by default)"
_MOST_NAMES = 8


def head(run: Run, asked: TrainOptions) -> list[str]:
    """Lines about a new run; `asked` are its options before it decided anything itself."""
    rows = [
        ("network", _network(run)),
        ("starts from", _start(run)),
        ("data", _data(run)),
        ("input", _input(run, asked)),
        ("device", _device(run, asked)),
        ("optimizer", _optimizer(run, asked)),
        ("length", _length(run)),
        ("loss", _loss(run)),
        ("augmentation", _augmentation(run, asked)),
        ("scoring", _scoring(run)),
        *_of_some_runs(run),
        ("files", f"go to {run.folder.path}"),
    ]
    lines = [f"{name + ':':<17}{text}" for name, text in rows]
    lines += filter(None, [two_sets_line(run.model.rules)])
    if run.options.start.weights and run.schedule.warmup_steps > 1:
        lines.append(
            "mAP falls at first, while the learning rate rises "
            f"({_warmup(run)} steps), and comes back: let it run"
        )
    return lines


def resumed_head(run: Run, progress: Progress) -> list[str]:
    """Lines about a run that goes on."""
    row = next((row for row in progress.rows if row["epoch"] == progress.best_epoch), {})
    best = ""
    if "val/map50" in row:
        best = f", best so far is {progress.best_epoch + 1} (mAP@.5 {row['val/map50']:.3f})"
    return [
        f"{run.folder.path}: goes on with epoch {progress.epoch + 1} of {run.options.epochs}{best}",
        f"{'network:':<17}{_network(run)}",
        f"{'data:':<17}{_data(run)}",
        f"{'device:':<17}{_device(run, run.options)}",
    ]


def _told(name: str, value: object, asked: object) -> str:
    return f"{name} {value}{_BY_DEFAULT if asked is None else ''}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _network(run: Run) -> str:
    model = run.model
    parameters, macs = (short_count(count(model.rules)) for count in (count_parameters, count_macs))
    height, width = model.img_size
    return (
        f"{run.options.cfg}: {len(model.rules)} layers, {parameters} parameters, {macs} MACs "
        f"at {width}x{height}"
    )


def _start(run: Run) -> str:
    start = run.options.start
    if not start.weights:
        return f"random weights, seed {run.options.seed}"
    cut = f", layers before {start.cutoff}" if start.cutoff is not None else ""
    grids = len(run.model.grids)
    rounded = f", in int8 ({grids} values and all kernels rounded)" if grids else ""
    return f"{start.weights}{cut}{rounded}"


def _data(run: Run) -> str:
    names = run.spec.names
    shown = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
    count = run.loader.dataset.labelled
    valid = f"{len(run.valid.dataset)} to validate" if run.valid else "none to validate"
    classes = f"{len(names)} class{'es' if len(names) > 1 else ''}"
    return f"{run.spec.source}: {classes} ({shown}), {count} images to train on, {valid}"


def _input(run: Run, asked: TrainOptions) -> str:
    options, model = run.options.images, run.model
    height, width = model.img_size
    size = f"{width}x{height}{_of_cfg(asked.images.size is None)}"
    fit = f"{run.loader.dataset.fit}{_of_cfg(options.fit == FROM_CFG)}"
    more = [f"{model.in_channels} channels"] if model.in_channels != 3 else []
    more += ["multi-scale"] if options.multi_scale else []
    more += ["rect"] if options.rect else []
    return ", ".join((f"{size} (width x height)", f"images: {fit}", *more))


def _of_cfg(by_default: bool) -> str:
    return " (the cfg's)" if by_default else ""


def _device(run: Run, asked: TrainOptions) -> str:
    machine = asked.machine
    name = str(run.device)
    if run.device.type == "cuda":
        name += f" ({torch.cuda.get_device_name(run.device)})"
    name += _BY_DEFAULT if not machine.device else ""
    parts = [name]
    if run.device.type == "cpu":
        parts.append(_told("threads", torch.get_num_threads(), machine.threads))
    dtype = str(run.precision.dtype).removeprefix("torch.")
    parts.append(f"{dtype}{' (--amp auto)' if machine.amp == 'auto' else ''}")
    layout = "channels last" if run.options.machine.channels_last else "channels first"
    parts.append(f"{layout}{_BY_DEFAULT if machine.channels_last is None else ''}")
    if run.ranks.world > 1:
        parts.append(f"{run.ranks.world} processes")
    workers = None if asked.images.workers < 0 else asked.images.workers
    parts.append(_told("workers", run.loader.workers, workers))
    return ", ".join(parts)


def _optimizer(run: Run, asked: TrainOptions) -> str:
    rates, options = run.options.rates, run.options.optimizer
    given = asked.optimizer
    shape: str = run.schedule.kind
    shape += f" to {run.schedule.final_factor:.3g} of it" if shape == "cosine" else ""
    return ", ".join((
        f"{rates.kind}{_BY_DEFAULT if given.kind is None else ''}",
        _told("lr0", f"{rates.lr0:g}", given.lr0),
        f"{shape} after {_warmup(run)} steps of warm-up",
        _told("momentum", f"{rates.momentum:g}", given.momentum),
        f"weight decay {options.weight_decay:g}",
        "moving average" if options.ema else "no moving average",
    ))  # fmt: skip


def _warmup(run: Run) -> int:
    return min(run.schedule.warmup_steps, run.schedule.steps)


def _length(run: Run) -> str:
    options = run.options
    batch, accumulate = options.images.batch_size, options.optimizer.accumulate
    step = _counted(batch, "image") if accumulate == 1 else f"{batch} x {accumulate} images"
    per_epoch = run.schedule.steps // options.epochs
    return f"{_counted(options.epochs, 'epoch')} of {_counted(per_epoch, 'step')} of {step}"


def _loss(run: Run) -> str:
    options = run.options.loss
    given = {"box": options.box, "objectness": options.objectness, "classes": options.classes}
    kinds = {head.loss_kind for head in run.model.heads}
    if options.from_cfg:
        return "as the cfg's heads say"
    defaults = DFL_GAINS if kinds == {"dfl"} else GAINS
    gains = [
        _told(name, f"{own if given.get(name) is None else given[name]:g}", given.get(name))
        for name, own in defaults.items()
    ]
    return ", ".join((f"{options.box_loss} for boxes", f"gains: {gains[0]}", *gains[1:]))


def _augmentation(run: Run, asked: TrainOptions) -> str:
    options = run.options.images
    on = {
        "mosaic": options.augment.mosaic, "scale": options.augment.scale,
        "translate": options.augment.translate, "degrees": options.augment.degrees,
        "shear": options.augment.shear, "hsv-h": options.augment.hsv_h,
        "hsv-s": options.augment.hsv_s, "hsv-v": options.augment.hsv_v,
    }  # fmt: skip
    flip = f"flip {options.augment.flip_share:g}"
    if asked.images.augment.flip is None:
        off = options.augment.flip_share == 0
        flip += " ([net] says flip=0)" if off else _BY_DEFAULT
    parts = [flip, *(f"{name} {value:g}" for name, value in on.items() if value)]
    closed = min(options.close_mosaic, run.options.epochs)
    if options.augment.mosaic and closed:
        whole = ", which is all of them" if closed == run.options.epochs else ""
        parts.append(f"no mosaic in the last {_counted(closed, 'epoch')}{whole}")
    return ", ".join(parts)


def _scoring(run: Run) -> str:
    wanted = run.options.after_epoch
    if run.valid is None:
        return "none: the data set names no validation images"
    parts = [
        "after the last epoch" if wanted.notest else "after each epoch",
        f"NMS {run.scoring().nms_kind.name}{_of_cfg(wanted.nms == FROM_CFG)}",
    ]
    if wanted.patience:
        parts.append(f"ends after {_counted(wanted.patience, 'epoch')} without a better one")
    return ", ".join(parts)


def _manner(run: Run) -> str:
    """At which size the teacher sees the images, where that is another; how it answers."""
    distiller = run.distiller
    assert distiller is not None
    height, width = distiller.teacher.img_size
    size = f", sees them at {width}x{height}" if distiller.sight.factor != 1 else ""
    if "response" not in distiller.options.kinds:
        return size
    return f"{size}, compared {'cell by cell' if distiller.pairs else 'by its boxes'}"


def _of_some_runs(run: Run) -> Iterator[tuple[str, str]]:
    """Rows about what most runs do without."""
    options = run.options
    sparse, teacher = options.sparsity, options.teacher
    if sparse.on:
        aim = f"the channels of {sparse.plan}" if sparse.plan else f"what {sparse.strategy} may cut"
        growing = sparse.penalty == "growing"
        manner = "growing" if growing else sparse.decay.kind
        strength = f"s {run.sparsity.s:.3g} by {sparse.update}, {manner}"
        again = f", BN measured again on {options.remeasured} images" if options.remeasured else ""
        yield "sparse training", f"{run.sparsity.said} ({aim}), {strength}{again}"
    if teacher.cfg:
        kinds = ", ".join(teacher.lessons.kinds)
        own = f" of {teacher.cfg}" if teacher.cfg != teacher.weights else ""
        yield "teacher", f"{teacher.weights}{own}, taught by: {kinds}{_manner(run)}"
    if teacher.unlabelled:
        images = run.loader.dataset
        count = _counted(len(images) - images.labelled, "more image")
        yield "unlabelled", f"{count} of {teacher.unlabelled}, learned from the teacher alone"
    if options.start.masks:
        yield "masks", f"weights masked in {options.start.masks} stay 0"
    if run.freezing.layers or run.freezing.statistics or options.freeze.but_heads:
        held = [f"the first {run.freezing.layers} layers"] if run.freezing.layers else []
        held += ["all BN statistics"] if run.freezing.statistics else []
        held += ["all but the heads' last layers"] if options.freeze.but_heads else []
        yield "held as it is", ", ".join(held)
