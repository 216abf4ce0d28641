"""Before and after, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from terminaltables import AsciiTable

from .layers import Layer
from .profile import Latency

_HEADER_BYTES = 20
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class ModelFigures:
    """What a model costs and is worth."""

    parameters: int
    macs: int
    file_bytes: int
    latency: Latency | None = None
    map50: float | None = None
    map: float | None = None


def count_parameters(layers: Sequence[Layer]) -> int:
    """Trainable numbers: all of the file's but the running means and variances."""
    statistics = ("running_mean", "running_var")
    fields = [field for layer in layers for field in layer.fields()]
    return sum(field.size for field in fields if not field.name.endswith(statistics))


def file_bytes(layers: Sequence[Layer]) -> int:
    """Size of the `.weights` file."""
    numbers = sum(field.size for layer in layers for field in layer.fields())
    return _HEADER_BYTES + _FLOAT_BYTES * numbers


def comparison_table(before: ModelFigures, after: ModelFigures) -> str:
    """Metric | Before | After | Change."""
    table = AsciiTable(comparison_rows(before, after))
    table.justify_columns = dict.fromkeys((1, 2, 3), "right")
    return str(table.table)


def comparison_rows(before: ModelFigures, after: ModelFigures) -> list[list[str]]:
    """The heads and cells of `comparison_table`."""
    rows = [["Metric", "Before", "After", "Change"]]
    for name, old, new in (
        ("mAP@.5", before.map50, after.map50),
        ("mAP@.5:.95", before.map, after.map),
    ):
        if old is not None and new is not None:
            rows.append([name, f"{old:.6f}", f"{new:.6f}", f"{new - old:+.6f}"])
    bflops = (2 * before.macs / 1e9, 2 * after.macs / 1e9)
    rows += [
        ["Parameters", *_counted(before.parameters, after.parameters)],
        ["MACs", *_counted(before.macs, after.macs)],
        ["BFLOPs", f"{bflops[0]:.3f}", f"{bflops[1]:.3f}", _change(*bflops)],
        ["File (bytes)", *_counted(before.file_bytes, after.file_bytes)],
    ]
    if before.latency and after.latency:
        rows.append(["Forward (ms)", *_latency(before.latency, after.latency)])
    return rows


def _counted(old: int, new: int) -> tuple[str, str, str]:
    return f"{old:,}", f"{new:,}", _change(old, new)


def _latency(old: Latency, new: Latency) -> tuple[str, str, str]:
    def shown(time: Latency) -> str:
        return f"{time.median_ms:.2f} ({time.p10_ms:.2f}..{time.p90_ms:.2f})"

    return shown(old), shown(new), _change(old.median_ms, new.median_ms)


def _change(old: float, new: float) -> str:
    return f"{100 * (new - old) / old:+.1f}%" if old else "-"
