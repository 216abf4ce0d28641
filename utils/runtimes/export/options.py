"""An export, as plain values: what `export_model` takes, what export.py's flags become."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...command.errors import UserError
from ...command.optional import require
from ...detection.options import Inputs
from ..needs import in_8_bits, needs_of, opencv_version
from ..onnx.layout_names import Layout
from ..options import PAIRS, THEIRS, Chip, Format, NmsOptions, Pair, Theirs, is_pair, target_files
from ..other_python import flag_of, interpreter


@dataclass(frozen=True)
class ExportOptions:
    """A model as files, and the files to make of it.

    output: their path without suffix; None puts them beside the weights. data: a .data file, whose
    class names go along and on whose images the result is checked. dynamic: any batch and image
    size. half: weights in float16. int8: 8 bits, calibrated on `calibration_images` images of
    `data`, drawn by `seed`. nms: the graph ends with it. layout: of an ONNX file's boxes. force:
    files of an earlier export are replaced. python: the interpreter that has what makes the files
    of "ultralytics" or "espdl"; "": this one. chip: of "espdl", None for the first one.

    Raises UserError for values that do not go together.
    """

    inputs: Inputs
    format: Format | Pair | Theirs = "onnx"
    output: str | None = None
    data: str = ""
    fit: str = "cfg"
    dynamic: bool = False
    half: bool = False
    int8: bool = False
    calibration_images: int = 100
    seed: int = 0
    nms: NmsOptions | None = None
    layout: Layout = "rows"
    force: bool = False
    python: str = ""
    chip: Chip | None = None

    def __post_init__(self) -> None:
        if self.python and self.format not in THEIRS:
            raise UserError("; ".join(f"{flag_of(kind)} is for --format {kind}" for kind in THEIRS))
        if self.chip and self.format != "espdl":
            raise UserError("--chip is for --format espdl")
        if self.format in THEIRS and (self.int8 or self.half or self.dynamic or self.nms):
            what = (
                "a checkpoint in float32" if self.format == "ultralytics" else "in 8 bits as it is"
            )
            raise UserError(
                f"--format {self.format} is {what}: --int8, --half, --dynamic and --nms are for "
                "the other formats"
            )
        if self.format == "espdl" and not self.data:
            raise UserError("--format espdl calibrates on real images: name a data set with --data")
        if self.format in PAIRS and (self.int8 or self.half or self.dynamic or self.nms):
            what = "a cfg" if is_pair(self.format) else f"ONNX for OpenCV {opencv_version()}"
            raise UserError(
                f"--format {self.format} is {what} with float32 weights: --int8, --half, --dynamic "
                "and --nms are for the other formats"
            )
        if self.int8 and not self.data:
            raise UserError("--int8 calibrates on real images: name a data set with --data")
        if self.int8 and (self.half or self.dynamic or self.nms):
            raise UserError("--int8 does not go with --half, --dynamic or --nms")
        if self.format == "ncnn" and (self.int8 or self.dynamic):
            raise UserError("--format ncnn knows neither --int8 nor --dynamic here")
        if self.format == "executorch" and self.half:
            raise UserError("--format executorch computes in float32 or int8: no --half")
        if self.format in ("mnn", "litert", "executorch") and self.dynamic:
            raise UserError(
                f"--format {self.format} is for one size: --dynamic is for ONNX, OpenVINO"
            )
        if self.layout != "rows" and (self.format != "onnx" or self.nms):
            raise UserError("--layout is for --format onnx without --nms")
        if self.nms and (self.format != "onnx" or self.half):
            raise UserError("--nms is for --format onnx in float32")

    @property
    def stem(self) -> Path:
        """Where the files go: their path without a suffix."""
        weights = Path(self.inputs.weights)
        if self.format == "ultralytics" and not self.output:
            return weights.with_name(f"{weights.stem}-ultralytics")  # a .pt may stand there
        suffix = "-int8" if self.int8 else "-half" if self.half else ""
        return Path(self.output) if self.output else weights.with_name(weights.stem + suffix)

    def require_possible(self) -> None:
        """Raise UserError for what is not installed, and where files would be replaced."""
        if self.format == "ultralytics" or self.format == "espdl":
            interpreter(self.format, self.python)
        kind = in_8_bits(self.format) if self.int8 else self.format
        require(needs_of(kind), f"--format {self.format}")
        there = [path for path in target_files(self.stem, self.format) if path.exists()]
        own = {Path(path).resolve() for path in (self.inputs.cfg, self.inputs.weights)}
        if any(path.resolve() in own for path in there):
            raise UserError(f"--format {self.format} would replace {there[0]}: name an --output")
        if there and not self.force:
            raise UserError(f"{there[0]}: is there already; name another --output, or use --force")
