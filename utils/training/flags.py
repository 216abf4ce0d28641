"""The command line of train.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, get_args

from ..command.cli import Parser, add_device, add_img_size, positive_int, ratio
from ..command.errors import UserError
from ..data.options import AugmentOptions
from ..detection.as_the_cfg_says import add_fit, add_nms
from ..detection.options import IouKind
from .cfg_recipe import WARMUP_POWER
from .distillation.flags import add_distillation_flags
from .losses.loss import LossOptions, ObjectnessTarget
from .losses.loss_options import DFL_GAINS, GAINS
from .optimization.optimizer import LR0, MOMENTUM, OptimizerKind
from .optimization.schedule import Schedule
from .sparse.flags import add_sparsity_flags

# What a resumed run may be given anew; everything else is part of its recipe.
FREE_ON_RESUME = {"resume", "name", "device", "threads", "workers", "cache_images", "epochs"}


def make_parser(doc: str | None, strategies: Sequence[str]) -> Parser:
    """Every flag with its default; `strategies` are the names of the prune scripts."""
    parser = Parser(doc)
    _add_run_flags(parser)
    _add_optimisation_flags(parser)
    _add_loss_flags(parser)
    add_sparsity_flags(parser, strategies)
    add_distillation_flags(parser)
    AugmentOptions.add_flags(parser)
    parser.add_argument(
        "--close-mosaic", type=int, default=5, metavar="N", help="no mosaic in the last N epochs"
    )
    # What --hyp-from-cfg finds beyond the flags; a run's saved arguments hold it.
    parser.set_defaults(loss_from_cfg=[], lr_marks=[], burn_in=None, max_batches=None)
    return parser


def parse_resumed(
    parser: Parser, argv: Sequence[str] | None, saved: dict[str, Any]
) -> argparse.Namespace:
    """A run's saved arguments with those given again now.

    Raises UserError when one is given that would make it another run.
    """
    # argparse leaves attributes alone that are there already: only flags really given change them.
    args = parser.parse_args(argv, argparse.Namespace(**saved))
    changed = [key for key, value in vars(args).items() if saved.get(key, value) != value]
    for key in changed:
        if key not in FREE_ON_RESUME:
            raise UserError(
                f"--{key} {getattr(args, key)}: the run to resume has {saved[key]}; "
                "leave it out, or start a new run with --weights"
            )
    return args


def _add_run_flags(parser: Parser) -> None:
    add = parser.add_argument
    add("--cfg", default="cfg/demo.cfg", help="structure of the model")
    add(
        "--data",
        default="data/shapes/shapes.data",
        help=".data file: classes, lists of images, names",
    )
    add("--weights", default="", help="start from a .weights or .pt file; '' is random")
    add(
        "--strict-weights",
        action="store_true",
        help="weights for other classes are an error; else all but the heads' last layers load",
    )
    add(
        "--masks",
        default="",
        metavar="FILE",
        help="hold the weights at 0 that this .pt masks (see mask_prune.py)",
    )
    add("--cutoff", type=positive_int, metavar="N", help="load only the layers before N")
    add("--transfer", action="store_true", help="train the heads' last convolutions only")
    add("--freeze", type=int, default=0, metavar="N", help="the first N layers stay as they are")
    add("--freeze-bn", action="store_true", help="BN statistics stay as they are, in all layers")
    add("--name", default="", help="folder below runs/train; '' takes the cfg's name")
    add(
        "--resume",
        nargs="?",
        const="",
        metavar="RUN",
        help="go on with a run: its folder or last.pt, or --name, or else the newest",
    )
    add("--nosave", action="store_true", help="write checkpoints after the last epoch only")
    add("--notest", action="store_true", help="evaluate after the last epoch only")
    add("--seed", type=int, default=0, help="of weights, order and augmentation")
    add_device(parser)
    add("--threads", type=positive_int, metavar="N", help="CPU threads of the forward pass")
    add("--workers", type=int, default=-1, metavar="N", help="processes that load images; -1 picks")
    add("--cache-images", action="store_true", help="keep resized images in RAM if they fit")
    add("--img-weights", action="store_true", help="draw images with rare classes more often")
    add("--strict", action="store_true", help="problems in the data are errors, not warnings")


def _add_optimisation_flags(parser: Parser) -> None:
    add = parser.add_argument
    add(
        "--hyp-from-cfg",
        action="store_true",
        help="what is not given here is as the cfg says, and Darknet trains: [net]'s learning "
        "rate and schedule, batch, augmentation; each head's loss",
    )
    add(
        "--hyp",
        metavar="FILE",
        help="YAML file of flags and values, as in data/hyp; flags given here win",
    )
    add("--epochs", type=positive_int, default=100, help="passes over the training images")
    add("--batch-size", type=positive_int, default=8, help="images per forward pass")
    add("--accumulate", type=positive_int, default=1, help="batches per optimizer step")
    add_img_size(parser)
    add("--multi-scale", action="store_true", help="another input size every 10 batches, 0.67-1.5x")
    add("--rect", action="store_true", help="batches of images of similar aspect ratio")
    add_fit(parser)
    add_nms(parser)
    add(
        "--optimizer",
        choices=get_args(OptimizerKind),
        help="left out: adamw, but sgd for sparsity by subgradients, since AdamW would divide the "
        "pull on a gamma by the size of its gradients",
    )
    add("--adam", action="store_const", const="adamw", dest="optimizer", help="--optimizer adamw")
    add("--lr0", type=float, metavar="X", help=f"learning rate; left out: {LR0}")
    add("--lrf", type=ratio, default=0.01, help="share of it at the end of the cosine")
    add("--schedule", choices=("cosine", "step"), default="cosine", help="of the learning rate")
    add("--cos-lr", action="store_const", const="cosine", dest="schedule", help="--schedule cosine")
    add("--warmup-epochs", type=float, default=2.0, help="over which the learning rate rises")
    add("--momentum", type=ratio, metavar="X", help=f"or AdamW's beta1; left out: {MOMENTUM}")
    add("--weight-decay", type=float, default=5e-4, help="of the convolution kernels")
    add("--clip-norm", type=float, default=10.0, help="longest gradient; 0 leaves it alone")
    add("--patience", type=int, default=0, help="stop after N epochs without a better one; 0 never")
    add_switch(parser, "ema", "evaluate and save the moving average of the weights")
    add(
        "--amp",
        choices=("auto", "bf16", "fp16", "off"),
        default="auto",
        help="type of the convolutions; auto: the fastest that this device multiplies",
    )
    add_switch(parser, "channels-last", "lay images out as the fast kernels like them")
    add("--compile", action="store_true", help="torch.compile the network (needs a C++ compiler)")
    add("--sync-bn", action="store_true", help="BN statistics over all processes; GPUs only")


def add_switch(parser: Parser, name: str, text: str) -> None:
    """`--name` (the default) and `--no-name`."""
    dest = name.replace("-", "_")
    parser.add_argument(f"--{name}", action="store_true", dest=dest, default=True, help=text)
    parser.add_argument(f"--no-{name}", action="store_false", dest=dest, help=f"not so: {text}")


def _add_loss_flags(parser: Parser) -> None:
    o = LossOptions()
    add = parser.add_argument
    add("--box-loss", choices=get_args(IouKind), default=o.box_loss, help="which IoU")
    for flag, name, what in (
        ("box", "box", "boxes"), ("obj", "objectness", "objectness"), ("cls", "classes", "classes")
    ):  # fmt: skip
        own = f"left out: {GAINS[name]}" + (
            f", {DFL_GAINS[name]} for YOLOv8's heads" if name in DFL_GAINS else ""
        )
        add(f"--{flag}-gain", type=float, metavar="X", help=f"weight of the {what}; {own}")
    add("--iou_t", type=ratio, default=o.iou_t, help="IoU of sizes from which an anchor matches")
    add(
        "--obj-target",
        choices=get_args(ObjectnessTarget),
        default=o.objectness_target,
        help="objectness of a positive: the IoU of its box, or one",
    )
    add("--ignore-thresh", type=ratio, help="more IoU is no background; left out: the cfg's")
    add("--label-smoothing", type=ratio, default=o.label_smoothing, help="of the class targets")


def loss_options(args: argparse.Namespace) -> LossOptions:
    """The options that the loss flags give."""
    return LossOptions(
        box=args.box_gain,
        objectness=args.obj_gain,
        classes=args.cls_gain,
        box_loss=args.box_loss,
        iou_t=args.iou_t,
        objectness_target=args.obj_target,
        ignore_thresh=args.ignore_thresh,
        label_smoothing=args.label_smoothing,
        from_cfg=frozenset(getattr(args, "loss_from_cfg", ())),
    )


def make_schedule(args: argparse.Namespace, per_epoch: int) -> Schedule:
    """The schedule of a run with `per_epoch` optimizer steps in each of its epochs."""
    steps = args.epochs * per_epoch
    rest: dict[str, Any] = {"kind": args.schedule, "final_factor": args.lrf}
    if getattr(args, "lr_marks", None):
        rest["marks"] = tuple((share, factor) for share, factor in args.lr_marks)
    burn_in = getattr(args, "burn_in", None)
    if burn_in is None:
        warmup_steps = round(args.warmup_epochs * per_epoch)
    else:
        # Darknet's: the momentum is the same from the start. A short run is not all warm-up.
        warmup_steps = min(burn_in, steps // 10)
        rest |= {"warmup_power": WARMUP_POWER, "warmup_momentum": args.momentum}
    return Schedule(steps, warmup_steps, momentum=args.momentum, **rest)


def chosen_rates(args: argparse.Namespace) -> tuple[OptimizerKind, float, float]:
    """The optimizer, its learning rate and its momentum, as given or by default."""
    by_gradient = args.sparsity_regularization and args.sparsity_update == "subgradient"
    kind: OptimizerKind = args.optimizer or ("sgd" if by_gradient else "adamw")
    momentum = MOMENTUM[kind] if args.momentum is None else args.momentum
    return kind, LR0[kind] if args.lr0 is None else args.lr0, momentum
