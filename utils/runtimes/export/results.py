"""What an export made, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...command.table import table
from ...detection.results import Metrics
from ..results import Agreement


@dataclass(frozen=True)
class Exported:
    """The files, and how their runtime's results compare with PyTorch's.

    checked: on how many images. worth: of an int8 export, a name and the metrics of the float32
    model and of the files.
    """

    files: tuple[Path, ...]
    agreement: Agreement
    checked: int
    worth: tuple[tuple[str, Metrics], ...] = ()

    def worth_table(self) -> str:
        """The mAP of each."""
        rows = [["model", "mAP@.5", "mAP@.5:.95"]]
        rows += [[name, f"{found.map50:.4f}", f"{found.map:.4f}"] for name, found in self.worth]
        return table(rows, right=(1, 2))
