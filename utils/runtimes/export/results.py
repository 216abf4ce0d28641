"""What an export made, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...command.table import table
from ...detection.results import Metrics
from ..onnx.integer_errors import IntegerErrors
from ..results import Agreement

NOTABLE_FALL = 0.02  # of mAP


@dataclass(frozen=True)
class Exported:
    """The files, and how their runtime's results compare with PyTorch's.

    checked: on how many images. worth: of an int8 export, a name and the metrics of the float32
    model and of the files. integers: of an int8 ONNX file. median_ms: of OpenCV's
    forward pass of one image, where that was timed. has_half: the format has float16, too.
    """

    files: tuple[Path, ...]
    agreement: Agreement
    checked: int
    worth: tuple[tuple[str, Metrics], ...] = ()
    median_ms: float | None = None
    integers: IntegerErrors | None = None
    has_half: bool = True

    def worth_table(self) -> str:
        """The mAP of each, and a warning where either figure falls by more than chance would."""
        rows = [["model", "mAP@.5", "mAP@.5:.95"]]
        rows += [[name, f"{found.map50:.3f}", f"{found.map:.3f}"] for name, found in self.worth]
        lost = max(
            getattr(self.worth[0][1], kind) - getattr(self.worth[-1][1], kind)
            for kind in ("map50", "map")
        )
        warning = ""
        if lost > NOTABLE_FALL:
            ways = ["look at what it finds", "calibrate on more images (--calibration-images)"]
            ways += ["take --half"] if self.has_half else []
            said = ", ".join(ways[:-1]) + ("," if self.has_half else "") + f" or {ways[-1]}"
            warning = f"\nWARNING: 8 bits cost {lost:.3f} of mAP: {said}"
        return table(rows, right=(1, 2)) + warning
