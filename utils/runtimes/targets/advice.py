"""For each target: the way to it, and the multiple of channels that its kernels are fast at.

Nothing here needs a tensor: the flags of commands read it.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

from .names import TARGETS, Target


@dataclass(frozen=True)
class Advice:
    """way: the command that makes its files. round_to: the multiple of channels; 1: any count."""

    way: str
    round_to: int
    why: str


ADVICE: dict[Target, Advice] = {
    "onnx": Advice(
        "export.py --format onnx", 8,
        "on AVX2 a convolution keeps the fast layout where its input has a multiple of 4 channels, "
        "at a [route] of 8 in every branch: yolov3-tiny took 50.9 ms odd, 33.5 in multiples of 8",
    ),
    "openvino": Advice(
        "export.py --format openvino", 8, "yolov3-tiny took 41.3 ms odd, 36.7 in multiples of 8"
    ),
    "opencv": Advice(
        "export.py --format opencv", 8,
        "yolov3-tiny took 48.0 ms odd, 36.7 in multiples of 8, in OpenCV 5",
    ),
    "ncnn": Advice(
        "export.py --format ncnn", 8, "channels are packed in 4, or 8 with AVX or float16"
    ),
    "mnn": Advice("export.py --format mnn", 1,
        "yolov3-tiny took 23.3 ms odd, 24.4 in multiples of 8 and 5% more MACs"),
    "litert": Advice("export.py --format litert", 1,
        "yolov3-tiny took 29.6 ms odd, 29.4 in multiples of 8 and 5% more MACs"),
    "executorch": Advice("export.py --format executorch", 8,
        "not measured; XNNPACK packs channels in 4 and 8"),
    "espdl": Advice("export.py --format espdl", 16,
        "its kernels for ESP32-P4 and -S3 take int8 in vectors of 16; where channels in or out are "
        "no multiple of that it has slower ones (read in its source, not timed)"),
    "tensorrt": Advice(
        "export.py --format onnx", 8, "its tensor cores want 8 in float16, 32 in int8 (not run)"
    ),
    "rknn": Advice(
        "export.py --format onnx, then rknn.load_onnx; never load_darknet", 8,
        "not measured: the simulator has no times",
    ),
    "darknet": Advice(
        "export.py --format darknet", 1,
        "not measured; the cfg is written as its strictest reader, hank-ai's, wants it"),
}  # fmt: skip


def rounded_for(target: Target | None, round_to: int) -> int:
    """The least multiple of channels that suits a target and is one of `round_to`, too."""
    return round_to if target is None else math.lcm(round_to, ADVICE[target].round_to)


def wanted(target: Target, round_to: int) -> str:
    """What a prune keeps to for a target, and why: a line."""
    return f"for {target}: multiples of {round_to} channels ({ADVICE[target].why})"


def add_target(group: argparse._ActionsContainer, writes_cfg: bool = True) -> None:
    """Add `--for` to a command that decides about channels."""
    spelling = ", darknet: write the cfg as --strict-darknet does" if writes_cfg else ""
    group.add_argument(
        "--for",
        dest="target",
        choices=TARGETS,
        help="what is to run it: keep multiples of the channels that its kernels are fast at"
        f"{spelling} (cfginfo.py --for says what and why)",
    )
