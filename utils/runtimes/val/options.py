"""An evaluation, as plain values: what `evaluate_files` takes, what val.py's flags become."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...command.errors import UserError
from ...command.folders import require_free
from ...detection.options import CONF_THRES, IOU_THRES, MAX_DET, Inputs, Scoring
from ..options import Backend

Task = Literal["valid", "train"]  # the lists that a .data file names
Amp = Literal["off", "bf16", "fp16"]


@dataclass(frozen=True)
class ValOptions:
    """A model as files, the data set, and how the one is run on the other.

    `inputs.weights` may be what export.py made, where `backend` runs that. conf_thres, iou_thres
    and max_det are those of `nms`; the defaults are what figures are compared with. half computes
    all in float16, amp what gains from it. threads: of the forward pass, None as many as PyTorch
    takes. save_json: a file for all detections, in COCO's format. plots: a new folder for curves,
    confusion matrix and pictures. strict: problems in the data are errors. Raises UserError for
    values that do not go together, for a file in no folder, and for a folder that holds files.
    """

    inputs: Inputs
    scoring: Scoring
    task: Task = "valid"
    conf_thres: float = CONF_THRES
    iou_thres: float = IOU_THRES
    max_det: int = MAX_DET
    backend: Backend = "torch"
    half: bool = False
    amp: Amp = "off"
    threads: int | None = None
    save_json: str | None = None
    plots: str | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        if self.backend != "torch" and (self.half or self.amp != "off"):
            raise UserError(
                f"--half and --amp are for --backend torch; {self.backend} runs float32"
            )
        if self.save_json and not Path(self.save_json).resolve().parent.is_dir():
            raise UserError(f"--save-json {self.save_json}: its folder does not exist")
        if self.plots:
            require_free(self.plots, "--plots")
