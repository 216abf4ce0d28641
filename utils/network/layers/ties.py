"""What a layer may say about channels: which are new, tied, pinned, or bound to equal counts.

Knows no layer: `graph.py` walks a network and hands each of its layers one of these.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ids: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]  # (C,): which channels of a layer are meant


class Ties(ABC):
    """Union-find over channel ids, and what else layers say while they are visited in order."""

    def __init__(self) -> None:
        self._parent: Ids = np.empty(0, np.int64)
        self._pins: list[tuple[Ids, str]] = []
        self._equal_parts: list[Ids] = []
        self._parted_by: list[int] = []
        self._tied_by: dict[int, list[Ids]] = {}
        self._summed: list[Ids] = []
        self._issued: dict[int, Ids] = {}
        self._inputs: list[tuple[Ids, ...]] = []
        self.outputs: list[Ids] = []

    def fresh(self, count: int) -> Ids:
        """`count` ids tied to nothing."""
        start = len(self._parent)
        ids = np.arange(start, start + count, dtype=np.int64)
        self._parent = np.concatenate([self._parent, ids])
        return ids

    def issue(self, index: int, count: int) -> Ids:
        """Fresh ids for the outputs of a layer whose kernel decides about them."""
        self._issued[index] = self.fresh(count)
        return self._issued[index]

    @property
    def _here(self) -> int:
        """The layer that is being visited: its inputs are known, its outputs not yet."""
        return len(self.outputs)

    def read_by(self, index: int) -> Ids:
        """Ids of the first source of an earlier layer."""
        return self._inputs[index][0]

    @abstractmethod
    def reads_same_constants(self, a: int, b: int) -> bool:
        """Whether layers a and b read pruned channels that emit the same constants."""

    def unite(self, a: Ids, b: Ids) -> None:
        """Tie a[k] and b[k], for all k."""
        self._tied_by.setdefault(self._here, []).append(a)
        while True:
            roots_a, roots_b = self._find(a), self._find(b)
            differ = roots_a != roots_b
            if not differ.any():
                return
            # A root that stands here twice keeps one of its unions; the next round does the rest.
            lower = np.minimum(roots_a, roots_b)[differ]
            self._parent[np.maximum(roots_a, roots_b)[differ]] = lower

    def add_up(self, a: Ids, b: Ids) -> None:
        """Tie a[k] and b[k], which are added to each other."""
        self.unite(a, b)
        self._summed.append(a)

    def keep_parts_equal(self, parts: Ids) -> None:
        """Rows of `parts` (parts, channels per part) must keep equal counts."""
        self._equal_parts.append(parts)
        self._parted_by.append(self._here)

    def pin(self, ids: Ids, reason: str) -> None:
        """These channels must stay."""
        self._pins.append((ids, reason))

    def _find(self, ids: Ids) -> Ids:
        roots = self._parent[ids]
        while True:
            above = self._parent[roots]
            if (above == roots).all():
                self._parent[ids] = roots
                return roots
            roots = above
