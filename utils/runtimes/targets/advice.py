"""For each target: the way to it, and the multiple of channels that its kernels are fast at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...network.layers import Head, Layer
from .names import Target


@dataclass(frozen=True)
class Advice:
    """way: the command that makes its files. round_to: for --round-to of a prune; 1: any count."""

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
    "tensorrt": Advice(
        "export.py --format onnx", 8, "its tensor cores want 8 in float16, 32 in int8 (not run)"
    ),
    "rknn": Advice(
        "export.py --format onnx, then rknn.load_onnx; never load_darknet", 8,
        "not measured: the simulator has no times",
    ),
}  # fmt: skip


def width_line(layers: Sequence[Layer], target: Target) -> str:
    """What --round-to would be for, and how many layers with a kernel are not that wide now.

    Those that a head reads are as wide as it says, and do not count.
    """
    advice = ADVICE[target]
    if advice.round_to == 1:
        return f"prune to any width ({advice.why})"
    read_by_head = {
        source for layer in layers if isinstance(layer, Head) for source in layer.sources
    }
    widths = [
        layer.shape[0] for layer in layers if layer.macs() and layer.index not in read_by_head
    ]
    odd = sum(width % advice.round_to > 0 for width in widths)
    return (
        f"prune with --round-to {advice.round_to} ({advice.why}); "
        f"{odd} of {len(widths)} layers with a kernel have another width now"
    )
