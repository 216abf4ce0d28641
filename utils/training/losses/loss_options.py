"""What the loss of each head goes by: our own rules, or those of the head's section in the cfg."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, cast, get_args

from ...detection.options import IouKind
from ...network.layers import GaussianYolo, Yolo

ObjectnessTarget = Literal["iou", "one"]
BoxLoss = Literal["iou", "giou", "diou", "ciou", "mse"]


GAINS = {"box": 2.0, "objectness": 1.0, "classes": 0.5}
DFL_GAINS = {"box": 7.5, "classes": 0.5, "dfl": 1.5}


@dataclass(frozen=True)
class LossOptions:
    """Weights and rules of the loss.

    box, objectness, classes: factors of the three parts; None: GAINS, or DFL_GAINS for YOLOv8's
    heads, which go by none of the other options. box_loss: which IoU. iou_t: an anchor
    takes a target when the IoU of their sizes exceeds it. objectness_target: the positives' target.
    ignore_thresh: None reads each head's section. label_smoothing: classes aim at 1 - s + s / nc
    and s / nc instead of 1 and 0. from_cfg: the names of those options that each [yolo] head's
    section decides instead; if there are any, sums are divided by the number of images as in
    Darknet, not by the number of positives.
    """

    box: float | None = None
    objectness: float | None = None
    classes: float | None = None
    box_loss: IouKind = "ciou"
    iou_t: float = 0.2
    objectness_target: ObjectnessTarget = "iou"
    ignore_thresh: float | None = None
    label_smoothing: float = 0.0
    from_cfg: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.box_loss not in get_args(IouKind):
            raise ValueError(f"unknown box loss {self.box_loss!r}")
        if self.objectness_target not in get_args(ObjectnessTarget):
            raise ValueError(f"unknown objectness target {self.objectness_target!r}")
        unknown = self.from_cfg - CFG_DECIDES
        if unknown:
            raise ValueError(f"no such options: {sorted(unknown)}")


# What a section has a key for.
CFG_DECIDES = frozenset(f.name for f in fields(LossOptions)) - {"label_smoothing", "from_cfg"}


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
    # A [Gaussian_yolo] head that says nothing else needs the likelihood: it has uncertainties.
    if "box_loss" in by_cfg or isinstance(head, GaussianYolo):
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
