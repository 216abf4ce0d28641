"""What a detection run did, counted: plain numbers and a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from ...command.table import table
from ...detection.results import Milliseconds, threshold_text


@dataclass
class Tally:
    """Filled while the run goes on. `names` has one name per class; `folder` holds the results.

    empty: frames that show nothing; faint: what these hold of a score from `faint_conf` on, which
    may be that of the best F1 (faint_is_best).
    """

    folder: Path
    names: tuple[str, ...]
    sources: int = 0
    frames: int = 0
    empty: int = 0
    faint: int = 0
    faint_conf: float = 1.0
    faint_is_best: bool = False
    found: Counter[int] = field(default_factory=Counter)
    times: list[Milliseconds] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def hint(self) -> str:
        """What to try where most frames show nothing; "" where enough do."""
        if self.empty <= self.frames / 2:
            return ""
        conf = threshold_text(self.faint_conf)
        said = f"nothing found in {self.empty} of {self.frames}: "
        if not self.faint:
            return f"{said}no box there has a score of even {conf}"
        best = ", where this model's F1 was best" if self.faint_is_best else ""
        more = f"{self.faint} boxes there have a score of {conf} or more{best}"
        return f"{said}{more}: --conf-thres {conf}"

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
