"""The stages of the demo: which files each left, and what was measured of it, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...command.table import table
from ...detection.results import Metrics


@dataclass(frozen=True)
class Stage:
    """A model of the line: its name, and the files that a runtime takes."""

    name: str
    cfg: Path
    weights: Path

    @property
    def checkpoint(self) -> Path:
        """What training goes on from."""
        return self.weights.with_suffix(".pt")


@dataclass(frozen=True)
class StageFigures:
    """What a stage costs, and what it is worth in either runtime.

    head_difference: the largest between the two, of raw head values for one image.
    """

    stage: Stage
    torch: Metrics
    opencv: Metrics
    parameters: int
    macs: int
    file_bytes: int
    opencv_ms: float
    head_difference: float


def stages_table(found: Sequence[StageFigures]) -> str:
    """A row per stage."""
    heads = [
        "model", "mAP@.5 (PyTorch)", "mAP@.5 (OpenCV)", "mAP@.5:.95", "parameters", "MMACs",
        "file KB", "OpenCV ms", "largest head difference",
    ]  # fmt: skip
    rows = [
        [
            each.stage.name,
            f"{each.torch.map50:.4f}",
            f"{each.opencv.map50:.4f}",
            f"{each.torch.map:.4f}",
            f"{each.parameters:,}",
            f"{each.macs / 1e6:.1f}",
            f"{each.file_bytes / 1e3:.0f}",
            f"{each.opencv_ms:.2f}",
            f"{each.head_difference:.1e}",
        ]
        for each in found
    ]
    return table([heads, *rows], right=range(1, len(heads)))


def verdict(base: StageFigures, tuned: StageFigures, seconds: float) -> str:
    """One line: what was won and lost from the first stage to the last, in so many seconds."""
    gone = 1 - tuned.parameters / base.parameters
    lost = base.torch.map50 - tuned.torch.map50
    return (
        f"{gone:.1%} of the parameters are gone, mAP@.5 changed by {-lost:+.4f}, "
        f"OpenCV runs it {base.opencv_ms / tuned.opencv_ms:.1f} times as fast "
        f"({seconds / 60:.1f} minutes in all)"
    )
