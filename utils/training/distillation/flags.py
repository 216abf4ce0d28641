"""The flags of distillation."""

from __future__ import annotations

from typing import get_args

from ...command.cli import Parser
from .options import DistillKind, DistillOptions, FeatureLoss


def add_distillation_flags(parser: Parser) -> None:
    """Add the flags that `TeacherOptions` holds."""
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
