"""What the loss of each head goes by: our own rules, or those of the head's section in the cfg."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast, get_args

from ...network.layers import Yolo
from .options import GAINS, LossOptions, ObjectnessTarget

BoxLoss = Literal["iou", "giou", "diou", "ciou", "mse"]


@dataclass(frozen=True)
class HeadRules:
    """The rules of one [yolo] or [Gaussian_yolo] head; see LossOptions for those named as there.

    mse is Darknet's old loss of boxes, on the raw numbers; for [Gaussian_yolo], the negative log
    likelihood. truth_thresh: a prediction that overlaps a target by more becomes a positive.
    uncertainty: factor of the [Gaussian_yolo] likelihood. max_delta: largest gradient of a box's
    raw number. as_darknet: the gradients of an IoU are those of Darknet, and only the cell that
    holds a target's centre answers for it.
    """

    box: float
    objectness: float
    classes: float
    box_loss: BoxLoss
    iou_t: float
    objectness_target: ObjectnessTarget
    ignore_thresh: float
    label_smoothing: float = 0.0
    truth_thresh: float = 1.0
    uncertainty: float = 1.0
    max_delta: float = math.inf
    as_darknet: bool = False


def rules_of(head: Yolo, options: LossOptions) -> HeadRules:
    """The options, with the head's own values (or Darknet's defaults) where the cfg decides.

    Raises CfgError for an iou_loss that does not exist.
    """
    s, by_cfg = head.section, options.from_cfg
    ignore = options.ignore_thresh
    if ignore is None or "ignore_thresh" in by_cfg:
        ignore = s.number("ignore_thresh", 0.5)
    box_loss: BoxLoss = options.box_loss
    # A head with uncertainties that says nothing else needs the likelihood.
    if "box_loss" in by_cfg or head.spread_entries is not None:
        box_loss = _iou_loss(head)
    target = options.objectness_target

    def number(name: str, key: str, default: float) -> float:
        own = getattr(options, name)
        own = GAINS[name] if own is None else float(own)
        return s.number(key, default) if name in by_cfg else own

    return HeadRules(
        box=number("box", "iou_normalizer", 0.75),
        objectness=number("objectness", "obj_normalizer", 1.0),
        classes=number("classes", "cls_normalizer", 1.0),
        box_loss=box_loss,
        iou_t=number("iou_t", "iou_thresh", 1.0),
        objectness_target="one" if "objectness_target" in by_cfg else target,
        ignore_thresh=ignore,
        label_smoothing=options.label_smoothing,
        truth_thresh=s.number("truth_thresh", 1.0) if by_cfg else 1.0,
        uncertainty=s.number("uc_normalizer", 1.0),
        max_delta=s.number("max_delta", math.inf) if by_cfg else math.inf,
        as_darknet="box" in by_cfg,
    )


def _iou_loss(head: Yolo) -> BoxLoss:
    name = head.section.text("iou_loss", "mse")
    if name not in get_args(BoxLoss):
        raise head.error(f"must be one of {', '.join(get_args(BoxLoss))}, got {name}", "iou_loss")
    return cast(BoxLoss, name)
