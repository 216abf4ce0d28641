"""What masks did: sparsity by layer and in all, the files' sizes, the time that is not saved."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..command.machine.timing import Latency
from ..command.table import table
from ..detection.figures import ModelFigures
from ..network.layers import Layer
from ..network.weights import State, name_of, save_darknet_weights
from .targets import Target


@dataclass(frozen=True)
class FileSize:
    """Bytes of a `.weights` file, as it is and compressed by gzip."""

    plain: int
    gzipped: int


def file_size(layers: Sequence[Layer], state: State) -> FileSize:
    """Measured on the file that these numbers make."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.weights"
        save_darknet_weights(path, layers, state)
        content = path.read_bytes()
    return FileSize(len(content), len(gzip.compress(content, mtime=0)))


def sparsity(masks: Mapping[str, Tensor]) -> float:
    """Share of the masked parameters' numbers that are held at 0."""
    total = sum(mask.numel() for mask in masks.values())
    return sum(int((~mask).sum()) for mask in masks.values()) / total if total else 0.0


def sparsity_table(targets: Sequence[Target], masks: Mapping[str, Tensor]) -> str:
    """One row per masked parameter, and their sum.

    `whole outputs`: filters without any weight left, the ones that slim_prune.py could take out.
    """
    rows = [["layer", "kind", "parameter", "numbers", "held at 0", "sparsity", "whole outputs"]]
    for target in targets:
        mask = masks.get(target.key)
        if mask is None:
            continue
        gone = int((~mask).sum())
        whole = int((~mask.flatten(1).any(1)).sum()) if mask.dim() > 1 else gone
        rows.append(
            [str(target.layer), target.kind, name_of(target.key), f"{mask.numel():,}",
             f"{gone:,}", f"{gone / mask.numel():.2%}", f"{whole} of {len(mask)}"]
        )  # fmt: skip
    total = sum(mask.numel() for mask in masks.values())
    gone = sum(int((~mask).sum()) for mask in masks.values())
    rows.append(["all", "", "", f"{total:,}", f"{gone:,}", f"{sparsity(masks):.2%}", ""])
    return table(rows, right=(0, 3, 4, 5, 6))


def cost_table(
    before: ModelFigures, after: ModelFigures, sizes_before: FileSize, sizes_after: FileSize
) -> str:
    """Metric | Before | After: what masking changes, and what it does not."""
    rows = [["Metric", "Before", "After"]]
    for name, old, new in (
        ("mAP@.5", before.map50, after.map50),
        ("mAP@.5:.95", before.map, after.map),
    ):
        if old is not None and new is not None:
            rows.append([name, f"{old:.4f}", f"{new:.4f}"])
    rows += [
        ["File (bytes)", f"{sizes_before.plain:,}", f"{sizes_after.plain:,}"],
        ["File, gzip (bytes)", f"{sizes_before.gzipped:,}", f"{sizes_after.gzipped:,}"],
        ["Forward (ms)", _time(before), _time(after)],
    ]
    return table(rows, right=(1, 2))


def no_faster(before: ModelFigures, after: ModelFigures) -> str:
    """The statement on speed that goes with every masked model, with the measured times."""
    return (
        "A masked model is not faster: runtimes multiply by its zeros as by any other number "
        f"({_latency(before).median_ms:.2f} ms a forward pass before, "
        f"{_latency(after).median_ms:.2f} ms after; a difference is chance). Only a compressed "
        "file is smaller. To save time, take whole channels out: slim_prune.py"
    )


def _latency(figures: ModelFigures) -> Latency:
    assert figures.latency is not None  # masking times every network
    return figures.latency


def _time(figures: ModelFigures) -> str:
    time = _latency(figures)
    return f"{time.median_ms:.2f} ({time.p10_ms:.2f}..{time.p90_ms:.2f})"
