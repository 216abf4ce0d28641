"""A detection run, as plain values: what `detect_files` takes, what detect.py's flags become."""

from __future__ import annotations

from dataclasses import dataclass

from ...detection.options import MAX_DET, Inputs
from ..options import Backend

CONF_THRES, IOU_THRES = 0.25, 0.45


@dataclass(frozen=True)
class Keep:
    """What a run leaves and shows beside the pictures."""

    txt: bool = False
    json: bool = False
    view: bool = False


@dataclass(frozen=True)
class DetectOptions:
    """A model as files, what to look at, and what to leave where.

    source: what `find_sources` takes. names: a file with a class name per line, or a .data file;
    None takes those that the model's files hold, else numbers. output: a folder that is new or
    empty; None makes one in `project`, called `name` or by the source. conf_thres, iou_thres and
    max_det are those of `nms`; fit and nms may be "cfg". threads: of the forward pass, None as many
    as PyTorch takes. batch_size: pictures per forward pass; the same is found with any.
    """

    inputs: Inputs
    source: str
    names: str | None = None
    output: str | None = None
    conf_thres: float = CONF_THRES
    iou_thres: float = IOU_THRES
    max_det: int = MAX_DET
    nms: str = "cfg"
    fit: str = "cfg"
    backend: Backend = "torch"
    device: str = ""
    threads: int | None = None
    keep: Keep = Keep()
    project: str = "runs/detect"
    name: str = ""
    batch_size: int = 8
