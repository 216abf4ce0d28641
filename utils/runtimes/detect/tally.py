"""What a detection run did, counted: plain numbers and a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from ...command.table import table
from ...detection.results import Milliseconds


@dataclass
class Tally:
    """Filled while the run goes on. `names` has one name per class; `folder` holds the results."""

    folder: Path
    names: tuple[str, ...]
    sources: int = 0
    frames: int = 0
    found: Counter[int] = field(default_factory=Counter)
    times: list[Milliseconds] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def hint(self, conf_thres: float) -> str:
        """What to try where most pictures show nothing; "" where enough do."""
        if self.found.total() >= self.frames / 2:
            return ""
        return (
            f"few boxes have a score of {conf_thres:g}: try --conf-thres {conf_thres / 5:.2g}, or "
            "the score of the best F1, which val.py says"
        )

    def table(self) -> str:
        """Detections per class, and the median of the times; there must be some."""
        rows = [["class", "detections"]]
        rows += [[self.names[label], str(count)] for label, count in sorted(self.found.items())]
        rows.append(["all", str(self.found.total())])
        middle = [median(part) for part in zip(*self.times, strict=True)]
        parts = ", ".join(
            f"{part} {ms:.2f}" for part, ms in zip(Milliseconds._fields, middle, strict=True)
        )
        counted = f"{self.frames} frames of {self.sources} sources; median ms: {parts}"
        return f"{table(rows, right=(1,))}\n{counted}"
