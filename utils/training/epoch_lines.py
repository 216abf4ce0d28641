"""What a run says of its epochs: a line after each, a table at the end, and the time left."""

from __future__ import annotations

import time

from ..command.progress import duration
from ..command.table import table
from .checkpoint import Progress, Row

_SCORES = (
    ("P", "val/precision"),
    ("R", "val/recall"),
    ("mAP@.5", "val/map50"),
    ("mAP@.5:.95", "val/map"),
)
_SMALL = {"gamma/near_zero": "|gamma| < .01", "channel/near_zero": "channels < .01"}
_SPARSE = (("|gamma| median", "gamma/median"), ("|gamma| < .01", "gamma/near_zero"))
_COUPLED = (("channel median", "channel/median"), ("channels < .01", "channel/near_zero"))


class Pace:
    """How fast the epochs of this session go by, of which `first` (from 0) is the first."""

    def __init__(self, first: int, epochs: int) -> None:
        self._first, self._epochs = first, epochs
        self._started = time.perf_counter()

    def left(self, done: float) -> str:
        """The time that the rest of the run takes, once so many of its epochs are done."""
        each = (time.perf_counter() - self._started) / max(done - self._first, 1e-9)
        return duration(each * (self._epochs - done))


def epoch_line(row: Row, epochs: int, better: bool, sparse: bool, left: str) -> str:
    """An epoch in the words of the field; how much is near 0 only where the run is sparse.

    `left`: the time that the rest of the run takes.
    """
    number = int(row["epoch"]) + 1
    parts = " ".join(
        f"{name.removeprefix('loss/')} {value:.3f}"
        for name, value in row.items()
        if name.startswith("loss/") and name != "loss/total"
    )
    said = [f"epoch {number}/{epochs}", f"loss {row['loss/total']:.3f} ({parts})"]
    if sparse:
        small = "channel/near_zero" if "channel/near_zero" in row else "gamma/near_zero"
        said.append(f"{_SMALL[small]} {row[small]:.1%}")
    said += [f"{name} {row[key]:.3f}" for name, key in _SCORES if key in row]
    if better and "fitness" in row:
        said.append("best so far")
    spent = duration(row["time/seconds"])
    said.append(spent if number == epochs else f"{spent}, {left} left")
    return "  ".join(said)


def summary(progress: Progress, sparse: bool) -> str:
    """A table of the best and the last epoch."""
    whole = any("channel/median" in row for row in progress.rows)
    small = _COUPLED if whole else _SPARSE
    columns = (*_SCORES, ("loss", "loss/total"), *(small if sparse else ()))
    rows = [("epoch", *(head for head, _ in columns))]
    for title, number in (("best", progress.best_epoch), ("last", progress.epoch - 1)):
        row = next((row for row in progress.rows if row["epoch"] == number), None)
        if row is not None:
            cells = [f"{row[key]:.3f}" if key in row else "-" for _, key in columns]
            rows.append((f"{title} ({number + 1})", *cells))
    return table(rows, right=range(1, len(columns) + 1))
