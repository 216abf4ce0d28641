"""Names for several models in one table: as short as tells them apart, by run where they are one's.

Every run leaves a best.pt and a last.pt, so a file's own name says nothing: the folder's does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

# What stands in a run's folder under the same name in each.
_OF_ANY_RUN = {"best", "last", "converted"}


def short_names(paths: Sequence[str | Path]) -> list[str]:
    """A name for each path, all different where the paths are.

    runs/train/a/last.pt and runs/train/b/last.pt are `a` and `b`; with runs/train/a/best.pt beside
    them, `a/last`, `b/last` and `a/best`.
    """
    given = [Path(path) for path in paths]
    different = len(set(map(str, given)))
    for length in range(max((len(path.parts) for path in given), default=0)):
        names = [_name(path, length) for path in given]
        if len(set(names)) == different:
            return names
    return [str(path) for path in given]


def run_name(path: str | Path) -> str:
    """The name of one model: of its run where the file's own says nothing."""
    return short_names([path])[0]


def _name(path: Path, length: int) -> str:
    """A name of so many folders and the file's; of none: what says most in a single word."""
    folder = path.parent.name
    if length == 0 and path.stem in _OF_ANY_RUN and folder:
        return folder
    return "/".join((*path.parent.parts, path.stem)[-length - 1 :])
