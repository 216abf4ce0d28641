"""Where a run writes: runs/train/NAME, never over another run."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..command.errors import UserError
from ..command.files import atomic_write

logger = logging.getLogger("train")

RUNS = Path("runs/train")  # where `--project` names no other folder


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def last(self) -> Path:
        """Checkpoint of the newest epoch, to resume from."""
        return self.path / "last.pt"

    @property
    def best(self) -> Path:
        """Weights of the epoch with the highest fitness."""
        return self.path / "best.pt"

    def write_args(self, args: Mapping[str, Any]) -> None:
        """args.json: how the run was started."""
        with atomic_write(self.path / "args.json") as temporary:
            temporary.write_text(json.dumps(dict(args), indent=2) + "\n", encoding="utf-8")


def started_from(checkpoint: str | Path) -> str:
    """The weights that the sparse run of this checkpoint began with; "" where there is no such run.

    args.json beside it says so; what is no text there, or names no file, counts as not said.
    """
    try:
        args = json.loads((Path(checkpoint).parent / "args.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    if not isinstance(args, dict) or args.get("sparsity_regularization") is not True:
        return ""
    weights = args.get("weights")
    return weights if isinstance(weights, str) and _is_file(weights) else ""


def _is_file(text: str) -> bool:
    """As `Path.is_file`; a name that no file system can hold is none."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def new_run(root: Path, name: str, exist_ok: bool = False) -> RunFolder:
    """Make root/name, or name-2, name-3, ... if there is one already.

    With `exist_ok` the one that is there is taken. Raises UserError.
    """
    if not name or Path(name).name != name:
        raise UserError(f"--name {name!r}: must be a plain folder name, it goes below {root}")
    for number in itertools.count(1):
        path = root / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True, exist_ok=exist_ok)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"{path}: cannot be made ({error.strerror})") from None
        if number > 1:
            logger.warning(
                "%s: holds an earlier run, which stays; this one writes to %s", root / name, path
            )
        return RunFolder(path)
    raise AssertionError("itertools.count ended")


def find_run(root: Path, resume: str, name: str) -> RunFolder:
    """The run to resume: a path to it or its last.pt, else root/name, else the newest one.

    Raises UserError when there is none with a last.pt.
    """
    if resume:
        given = Path(resume)
        folder = RunFolder(given.parent if given.is_file() else given)
    elif name:
        folder = RunFolder(root / name)
    else:
        found = sorted(root.glob("*/last.pt"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise UserError(f"--resume: no run with a last.pt below {root}")
        folder = RunFolder(found[-1].parent)
    if not folder.last.is_file():
        raise UserError(f"--resume: {folder.last} does not exist; which run? (--name NAME)")
    return folder
