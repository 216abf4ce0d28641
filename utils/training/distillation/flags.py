"""The flags of distillation, and the distiller that they describe."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from ...command.cli import Parser
from ...command.errors import UserError
from ...network.channel_links import Link, plan_path, read_links
from ...network.layers import Head, Layer
from .distiller import Distiller, DistillKind, DistillOptions, FeatureLoss, Teacher, default_links


def add_distillation_flags(parser: Parser) -> None:
    """Add them."""
    o = DistillOptions()
    add = parser.add_argument
    add("--t_cfg", default="", help="structure of a teacher; turns distillation on")
    add("--t_weights", default="", help="its weights")
    add(
        "--distill",
        nargs="+",
        choices=get_args(DistillKind),
        default=list(o.kinds),
        help="what the teacher teaches: 1 all logits, 2 objectness, classes and better boxes, "
        "response its answers in place of labels, feature the features of the channels that "
        "pruning kept (NAME.plan.json)",
    )
    add("--distill-gain", type=float, default=o.gain, help="weight of 1, 2 and response")
    add("--feature-gain", type=float, default=o.feature_gain, help="weight of feature")
    add("--feature-loss", choices=get_args(FeatureLoss), default=o.feature_loss, help="distance")
    add("--temperature", type=float, default=o.temperature, help="of the softmaxes")
    add("--t-plan", metavar="FILE", help="left out: the .plan.json beside --cfg")


def distill_options(args: argparse.Namespace) -> DistillOptions:
    """The options that the distillation flags give."""
    return DistillOptions(
        kinds=tuple(args.distill),
        temperature=args.temperature,
        gain=args.distill_gain,
        feature_gain=args.feature_gain,
        feature_loss=args.feature_loss,
        iou_t=args.iou_t,
    )


def make_distiller(
    args: argparse.Namespace, teacher: Teacher, rules: Sequence[Layer], heads: Sequence[Head]
) -> Distiller:
    """What the flags ask of a teacher for the student with these layers and heads.

    Raises UserError where the teacher has nothing to say to this student.
    """
    links: tuple[Link, ...] = ()
    if "feature" in args.distill:
        path = Path(args.t_plan) if args.t_plan else plan_path(args.cfg)
        if not path.is_file():
            raise UserError(
                f"--distill feature: {path} is not there; the prune scripts write it beside the "
                "pruned cfg (--t-plan names another; --distill 1 and 2 need none)"
            )
        links = default_links(read_links(path, rules, teacher.rules), rules)
        if not links:
            raise UserError(f"{path}: links none of the layers that end a scale or feed a head")
    return Distiller(teacher, heads, distill_options(args), links)
