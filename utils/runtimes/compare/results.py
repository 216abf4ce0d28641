"""What a comparison measured: plain numbers, as a table and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from ...command.table import table


@dataclass(frozen=True)
class Candidate:
    """A model to compare: its name, its files, and what it costs whatever runs it."""

    name: str
    cfg: str
    weights: str
    img_size: tuple[int, int]  # (height, width) in pixels
    parameters: int
    macs: int


@dataclass(frozen=True)
class Measured:
    """Results of a task. Times are of the forward pass alone, of one image, warm.

    cpu_ms is the processor time that a pass takes, over all threads: unlike the others, it says the
    same on a busy machine; the median of some rounds, with their least and most. peak_mb is by how
    much the process grew, from before the runtime was loaded to the peak of the passes.
    """

    file_bytes: int
    median_ms: float
    p95_ms: float
    cpu_ms: float
    cpu_least_ms: float
    cpu_most_ms: float
    peak_mb: float
    map50: float | None = None
    map: float | None = None


@dataclass(frozen=True)
class Row:
    """One model in one runtime; `result` is a text where it could not be measured."""

    candidate: Candidate
    runtime: str
    result: Measured | str

    def __str__(self) -> str:
        """A line, to say as soon as it is there."""
        found = self.result
        if isinstance(found, str):
            return f"{self.candidate.name} in {self.runtime}: {found}"
        score = "" if found.map50 is None else f", mAP@.5 {found.map50:.3f}"
        return f"{self.candidate.name} in {self.runtime}: {found.median_ms:.2f} ms{score}"


def results_table(rows: Sequence[Row]) -> str:
    """For the terminal: a line per model and runtime, then what could not be measured."""
    lines = cells(rows)
    return "\n".join([table(lines, right=range(2, len(lines[0]))), *failed(rows)])


def failed(rows: Sequence[Row]) -> list[str]:
    """A line for each that could not be measured."""
    return [str(row) for row in rows if isinstance(row.result, str)]


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """The table as text, its heads first; mAP where something was scored."""
    scored = any(isinstance(r.result, Measured) and r.result.map50 is not None for r in rows)
    heads = ["model", "runtime", "parameters", "MMACs", "file KB", "peak MB", "ms", "p95", "CPU ms"]
    lines = [heads + (["mAP@.5", "mAP@.5:.95"] if scored else [])]
    for row in rows:
        found = row.result
        if not isinstance(found, Measured):
            continue
        line = [
            row.candidate.name,
            row.runtime,
            f"{row.candidate.parameters:,}",
            f"{row.candidate.macs / 1e6:.0f}",
            f"{found.file_bytes / 1e3:.0f}",
            f"{found.peak_mb:.0f}",
            f"{found.median_ms:.2f}",
            f"{found.p95_ms:.2f}",
            f"{found.cpu_ms:.2f}",
        ]
        if scored:
            both = (found.map50, found.map)
            line += ["-" if value is None else f"{value:.3f}" for value in both]
        lines.append(line)
    return lines


def verdict(rows: Sequence[Row]) -> str:
    """A sentence: what the smallest model gives for what it saves against the largest; "" for one.

    A ratio of times that the rounds' spread does not support is not told as one.
    """
    measured = [row for row in rows if isinstance(row.result, Measured)]
    by_size = sorted({row.candidate.parameters: row.candidate for row in measured}.items())
    if len(by_size) < 2:
        return ""
    small, large = by_size[0][1], by_size[-1][1]
    parts = [f"{large.parameters / small.parameters:.1f} times smaller"]
    found = {(row.candidate, row.runtime): row.result for row in measured}
    both = [r for c, r in found if c == small and (large, r) in found]
    scored = None
    for runtime in both:
        before, after = found[large, runtime], found[small, runtime]
        assert isinstance(before, Measured) and isinstance(after, Measured)
        scored = scored or (before, after)
        if after.cpu_most_ms < before.cpu_least_ms:
            parts.append(f"{before.cpu_ms / after.cpu_ms:.1f} times as fast in {runtime}")
        else:
            parts.append(f"not faster in {runtime} by more than the spread")
    told = ", ".join(parts)
    if scored and scored[0].map50 is not None and scored[1].map50 is not None:
        told += f"; mAP@.5 {scored[0].map50:.3f} -> {scored[1].map50:.3f}"
    return f"{small.name} against {large.name}, by processor time: {told}"


def csv_text(rows: Sequence[Row]) -> str:
    """All numbers, unrounded; empty where there are none."""
    text = io.StringIO()
    numbers = [field.name for field in fields(Measured)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", "runtime", "parameters", "macs", *numbers, "problem"])
    for row in rows:
        found = row.result
        values = asdict(found) if isinstance(found, Measured) else dict.fromkeys(numbers)
        problem = found if isinstance(found, str) else ""
        head = [row.candidate.name, row.runtime, row.candidate.parameters, row.candidate.macs]
        writer.writerow([*head, *(values[name] for name in numbers), problem])
    return text.getvalue()
