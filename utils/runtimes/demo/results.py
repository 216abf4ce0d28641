"""What was measured of the demo's stages, as a table and a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...command.machine.timing import Latency
from ...command.table import table
from ...detection.figures import are_apart, shown_latency
from ...detection.results import Metrics
from .stages import Stage


@dataclass(frozen=True)
class StageFigures:
    """What a stage costs, and what it is worth in either runtime.

    head_difference: the largest between the two, of raw head values for one image. opencv_ms: of
    the stage's structure, the same figure for all stages of one cfg.
    """

    stage: Stage
    torch: Metrics
    opencv: Metrics
    parameters: int
    macs: int
    file_bytes: int
    opencv_ms: Latency
    head_difference: float


def stages_table(found: Sequence[StageFigures]) -> str:
    """A row per stage."""
    heads = [
        "model", "mAP@.5", "in OpenCV", "mAP@.5:.95", "parameters", "MMACs", "file KB",
        "OpenCV ms (8 runs in 10)", "heads differ by",
    ]  # fmt: skip
    rows = [
        [
            each.stage.name,
            f"{each.torch.map50:.3f}",
            f"{each.opencv.map50:.3f}",
            f"{each.torch.map:.3f}",
            f"{each.parameters:,}",
            f"{each.macs / 1e6:.1f}",
            f"{each.file_bytes / 1e3:.0f}",
            shown_latency(each.opencv_ms),
            f"{each.head_difference:.1e}",
        ]
        for each in found
    ]
    return table([heads, *rows], right=range(1, len(heads)))


def verdict(base: StageFigures, tuned: StageFigures, seconds: float) -> str:
    """One line: what was won and lost from the first stage to the last, in so many seconds."""
    gone = 1 - tuned.parameters / base.parameters
    images = base.torch.images
    old, new = base.opencv_ms, tuned.opencv_ms
    faster = (
        f"OpenCV runs it {old.median_ms / new.median_ms:.1f} times as fast"
        if are_apart(old, new)
        else "what OpenCV's times differ by is within their spread: other work on this machine?"
    )
    return (
        f"{gone:.0%} of the parameters are gone, mAP@.5 went from {base.torch.map50:.3f} to "
        f"{tuned.torch.map50:.3f} on {images} images, {faster} ({seconds / 60:.1f} minutes in all)"
    )
