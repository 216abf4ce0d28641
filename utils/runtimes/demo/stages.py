"""The stages of the demo, and which files each left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
