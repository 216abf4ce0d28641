"""The command line of train.py."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from ..command.cli import (
    DATA_SET,
    Parser,
    add_device,
    add_img_size,
    from_zero,
    positive_int,
    ratio,
    seed,
    workers,
)
from ..command.errors import UserError
from ..command.flag_fields import to_flags
from ..data.options import AugmentOptions
from ..detection.as_the_cfg_says import add_fit, add_nms
from ..detection.options import IouKind
from ..network.cfg_of import own_cfg
from .cfg_recipe import with_recipe
from .distillation.flags import add_distillation_flags
from .hyp import hyp_flags
from .losses.options import DFL_GAINS, GAINS, ObjectnessTarget
from .optimization.options import LR0, MOMENTUM, Amp, OptimizerKind, ScheduleKind
from .options import TrainOptions
from .sparse.flags import add_sparsity_flags

# What a resumed run may be given anew; everything else is part of its recipe.
FREE_ON_RESUME = {
    "resume", "name", "project", "exist_ok",
    "device", "threads", "workers", "cache_images", "keep_images_mb", "epochs", "noplots",
}  # fmt: skip
_FIRST = (
    "--cfg", "--data", "--weights", "--name", "--epochs", "--img-size", "--batch-size", "--hyp",
    "--resume", "--device", "--cache-images", "--sparsity-regularization", "--t-cfg", "--t-weights",
)  # fmt: skip
_ABSENT = object()


def make_parser(doc: str | None, strategies: Sequence[str]) -> Parser:
    """Every flag, by default as in `TrainOptions`; `strategies` are the prune scripts' names."""
    parser = Parser(doc, first=_FIRST)
    # For flags that name no default of their own, and what --hyp-from-cfg finds beyond the flags.
    parser.set_defaults(**to_flags(TrainOptions()))
    _add_run_flags(parser.add_argument_group("the run"))
    _add_start_flags(parser.add_argument_group("what it starts from"))
    _add_image_flags(parser.add_argument_group("images"))
    _add_schedule_flags(parser.add_argument_group("length and learning rate"))
    add_sparsity_flags(parser, strategies)
    add_distillation_flags(parser)
    _add_machine_flags(parser.add_argument_group("machine"))
    _add_epoch_flags(parser.add_argument_group("scoring and saving"))
    _add_loss_flags(parser.add_argument_group("loss"))
    AugmentOptions.add_flags(parser)
    return parser


def typed_flags(parser: Parser, argv: Sequence[str]) -> dict[str, Any]:
    """Every flag's value by its name: as given, else as `--hyp` or the cfg says, or by default.

    Raises UserError for a file of `--hyp` or a cfg that does not say it right.
    """
    words = with_hyp(parser, argv)
    typed: dict[str, Any] = vars(parser.parse_args(words))
    if typed["resume"] is not None:
        return typed
    # argparse sets no default where an attribute exists: what is no longer absent was given.
    absent = argparse.Namespace(**dict.fromkeys(typed, _ABSENT))
    found = vars(parser.parse_args(words, absent))
    given = {name for name, value in found.items() if value is not _ABSENT}
    if "cfg" not in given:
        typed["cfg"] = own_cfg(typed["weights"]) or typed["cfg"]
    return with_recipe(typed, given) if typed["hyp_from_cfg"] else typed


def with_hyp(parser: Parser, argv: Sequence[str]) -> list[str]:
    """`argv` with the flags of its `--hyp FILE` before its own, which therefore win."""
    path = parser.parse_known_args(argv)[0].hyp
    return [*(hyp_flags(path, parser) if path is not None else ()), *argv]


def resumed_flags(parser: Parser, argv: Sequence[str], saved: Mapping[str, Any]) -> dict[str, Any]:
    """A run's saved flags with those given again now.

    Raises UserError when one is given that would make it another run.
    """
    # argparse leaves attributes alone that are there already: only flags really given change them.
    words = with_hyp(parser, argv)
    typed: dict[str, Any] = vars(parser.parse_args(words, argparse.Namespace(**saved)))
    changed = [key for key, value in typed.items() if saved.get(key, value) != value]
    for key in changed:
        if key not in FREE_ON_RESUME:
            raise UserError(
                f"--{key} {typed[key]}: the run to resume has {saved[key]}; "
                "leave it out, or start a new run with --weights"
            )
    return typed


def _add_run_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--cfg", help="structure; left out, what --weights hold, or NAME.cfg beside NAME.weights")
    add("--data", help=DATA_SET)
    add("--name", help="folder below --project; '' takes the cfg's name")
    add("--project", metavar="DIR", help="folder of the runs")
    add("--exist-ok", action="store_true", help="replace the files of a run of the same name")
    add(
        "--resume",
        nargs="?",
        const="",
        metavar="RUN",
        help="go on with a run: its folder or last.pt, or --name, or else the newest",
    )
    add(
        "--hyp",
        metavar="FILE",
        help="YAML file of flags and values, as in data/hyp; flags given here win",
    )
    add(
        "--hyp-from-cfg",
        action="store_true",
        help="what is not given here is as the cfg says, and Darknet trains: [net]'s learning "
        "rate and schedule, batch, augmentation; each head's loss",
    )
    add("--seed", type=seed, help="of weights, order and augmentation")
    add(
        "--int8",
        action="store_true",
        help="finetune --weights for 8 bits (rounded values and kernels), with their float self "
        "as the teacher unless --t-weights names one",
    )
    add("--strict", action="store_true", help="problems in the data are errors, not warnings")


def _add_start_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--weights", help="start from a .weights or .pt file; '' is random")
    add(
        "--strict-weights",
        action="store_true",
        help="weights for other classes are an error; else all but the heads' last layers load",
    )
    add(
        "--masks",
        metavar="FILE",
        help="hold the weights at 0 that this .pt masks (see mask_prune.py)",
    )
    add("--cutoff", type=positive_int, metavar="N", help="load only the layers before N")
    add("--transfer", action="store_true", help="train the heads' last convolutions only")
    add("--freeze", type=int, metavar="N", help="the first N layers stay as they are")
    add("--freeze-bn", action="store_true", help="BN statistics stay as they are, in all layers")


def _add_image_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add_img_size(group)
    add("--batch-size", type=positive_int, help="images per forward pass")
    add("--multi-scale", action="store_true", help="another input size every 10 batches, 0.67-1.5x")
    add("--rect", action="store_true", help="batches of images of similar aspect ratio")
    add_fit(group)
    add("--img-weights", action="store_true", help="draw images with rare classes more often")
    add("--workers", type=workers, metavar="N", help="processes that load images; -1 picks")
    add(
        "--cache-images",
        nargs="?",
        const=True,
        type=cached,
        metavar="ram",
        help="read and resize all images before the first epoch, into RAM, if they fit",
    )
    add(
        "--keep-images-mb",
        type=_megabytes,
        metavar="N",
        help="megabytes of resized images that stay in RAM as they are read; 0 keeps none, left "
        "out: a quarter of the free memory",
    )


def _megabytes(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {text}")
    return value


def cached(text: str) -> bool:
    """Value of `--cache-images`, as other programs' `--cache` has it."""
    known = {"ram": True, "true": True, "false": False}
    if text.lower() not in known:
        raise argparse.ArgumentTypeError(f"{text}: resized images are kept in RAM only (ram)")
    return known[text.lower()]


def _add_schedule_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--epochs", type=positive_int, help="passes over the training images")
    add("--accumulate", type=positive_int, help="batches per optimizer step")
    add(
        "--optimizer",
        type=str.lower,
        choices=get_args(OptimizerKind),
        help="left out: adamw, but sgd for sparsity by subgradients, since AdamW would divide the "
        "pull on a gamma by the size of its gradients",
    )
    add("--adam", action="store_const", const="adamw", dest="optimizer", help="--optimizer adamw")
    add("--lr0", type=from_zero, metavar="X", help=f"learning rate; left out: {_by_kind(LR0)}")
    add("--lrf", type=ratio, help="share of it at the end of the cosine")
    add("--schedule", choices=get_args(ScheduleKind), help="of the learning rate")
    add(
        "--cos-lr",
        action="store_const",
        const="cosine",
        dest="schedule",
        default=None,
        help="--schedule cosine",
    )
    add("--warmup-epochs", type=from_zero, help="over which the learning rate rises")
    add(
        "--momentum",
        type=ratio,
        metavar="X",
        help=f"or AdamW's beta1; left out: {_by_kind(MOMENTUM)}",
    )
    add("--weight-decay", type=from_zero, help="of the convolution kernels")
    add("--clip-norm", type=from_zero, help="longest gradient; 0 leaves it alone")
    add("--patience", type=int, help="stop after N epochs without a better one; 0 never")
    add("--close-mosaic", type=int, metavar="N", help="no mosaic in the last N epochs")


def _by_kind(values: Mapping[OptimizerKind, float]) -> str:
    return ", ".join(f"{value} for {kind}" for kind, value in values.items())


def _add_machine_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add_device(group)
    add("--threads", type=positive_int, metavar="N", help="CPU threads of the forward pass")
    add(
        "--amp",
        choices=get_args(Amp),
        help="type of the convolutions; auto: the fastest that this device multiplies",
    )
    add_switch(
        group,
        "channels-last",
        "how images lie in memory; left out: what is faster here, tried at the start where a "
        "training is long",
    )
    add("--compile", action="store_true", help="torch.compile the network (needs a C++ compiler)")
    add("--sync-bn", action="store_true", help="BN statistics over all processes; GPUs only")


def _add_epoch_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--nosave", action="store_true", help="write checkpoints after the last epoch only")
    add("--notest", action="store_true", help="evaluate after the last epoch only")
    add("--noplots", action="store_true", help="no pictures in the run's folder")
    add_nms(group)
    add_switch(group, "ema", "evaluate and save the moving average of the weights")


def add_switch(group: argparse._ArgumentGroup, name: str, text: str) -> None:
    """`--name` and `--no-name`; left out, what TrainOptions says."""
    dest, default = name.replace("-", "_"), to_flags(TrainOptions())[name.replace("-", "_")]
    add = group.add_argument
    add(f"--{name}", action="store_true", dest=dest, default=default, help=text)
    add(f"--no-{name}", action="store_false", dest=dest, default=default, help=f"not so: {text}")


def _add_loss_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--box-loss", choices=get_args(IouKind), help="which IoU")
    for flag, name, what in (
        ("box", "box", "boxes"), ("obj", "objectness", "objectness"), ("cls", "classes", "classes")
    ):  # fmt: skip
        own = f"left out: {GAINS[name]}" + (
            f", {DFL_GAINS[name]} for YOLOv8's heads" if name in DFL_GAINS else ""
        )
        add(f"--{flag}-gain", type=from_zero, metavar="X", help=f"weight of the {what}; {own}")
    add("--iou-t", type=ratio, help="IoU of sizes from which an anchor matches")
    add(
        "--obj-target",
        choices=get_args(ObjectnessTarget),
        help="objectness of a positive: the IoU of its box, or one",
    )
    add("--ignore-thresh", type=ratio, help="more IoU is no background; left out: the cfg's")
    add("--label-smoothing", type=ratio, help="of the class targets")
