"""Rows of numbers as a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from .files import atomic_write


def write_csv(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """One line per row; the columns are those of all rows, in the order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({key: f"{value:.6g}" for key, value in row.items()} for row in rows)
