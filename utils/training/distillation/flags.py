"""The flags of distillation."""

from __future__ import annotations

from typing import get_args

from ...command.cli import Parser, above_zero, from_zero, positive_int
from .options import DistillKind, FeatureLoss


def add_distillation_flags(parser: Parser) -> None:
    """Add the flags of `TeacherOptions`, which has their defaults."""
    add = parser.add_argument_group("teacher").add_argument
    add("--t-cfg", help="structure of a teacher; left out, the one in --t-weights")
    add("--t-weights", help="a teacher's .pt or .weights; turns distillation on")
    add(
        "--distill",
        nargs="+",
        choices=get_args(DistillKind),
        help="what the teacher teaches: 1 all logits, 2 objectness, classes and better boxes, "
        "response its answers in place of labels, feature the features of the channels that "
        "pruning kept (NAME.plan.json), cross what its own head makes of them",
    )
    add("--distill-gain", type=from_zero, help="weight of 1, 2, response and cross")
    add("--feature-gain", type=from_zero, help="weight of feature")
    add(
        "--feature-loss",
        choices=get_args(FeatureLoss),
        help="distance of features: cwd where a channel looks, mse in the teacher's scale, pkd "
        "Pearson's correlation, which leaves scale and offset to the student",
    )
    add("--temperature", type=above_zero, help="of the softmaxes")
    add(
        "--unlabelled",
        metavar="FOLDER",
        help="further images to train on, of which the teacher's part of the loss alone is learned",
    )
    add(
        "--t-img-size",
        type=positive_int,
        nargs="+",
        metavar="N",
        help="size at which the teacher sees the images: one number, or height and width; left "
        "out, the student's",
    )
    add("--t-plan", metavar="FILE", help="left out: the .plan.json beside --cfg")
