"""What the loss goes by, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from ...command.flag_fields import flag
from ...detection.options import IouKind

ObjectnessTarget = Literal["iou", "one"]

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

    box: float | None = field(default=None, metadata=flag("box_gain"))
    objectness: float | None = field(default=None, metadata=flag("obj_gain"))
    classes: float | None = field(default=None, metadata=flag("cls_gain"))
    box_loss: IouKind = "ciou"
    iou_t: float = 0.2
    objectness_target: ObjectnessTarget = field(default="iou", metadata=flag("obj_target"))
    ignore_thresh: float | None = None
    label_smoothing: float = 0.0
    from_cfg: frozenset[str] = field(
        default=frozenset(), metadata=flag("loss_from_cfg", read=frozenset)
    )

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
