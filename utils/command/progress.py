"""The one progress bar of all commands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress_bar(
    items: Iterable[T], what: str, unit: str = "it", total: int | None = None, show: bool = True
) -> tqdm[T]:
    """A bar on stderr that goes away when done; none where stderr is a file or a pipe."""
    return tqdm(items, what, total, leave=False, unit=unit, delay=1, disable=None if show else True)
