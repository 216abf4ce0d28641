"""The journal of a command that chains others for hours: killed at any moment, it goes on.

One JSON file in the command's folder says what is done. It is replaced whole after each part, and a
training in between goes on from its own last checkpoint. A digest in it tells a file that a hand or
a bad disk has changed: what such a file makes a command do for hours, nobody could foresee.
"""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..command.errors import UserError
from ..command.files import alone, atomic_write, require_file
from ..command.folders import first_free, require_free
from ..training.run_folder import RunFolder

FORMAT = 2
_NAME = "state.json"

Train = Callable[[Sequence[str]], Path]


@dataclass(frozen=True)
class Trainer:
    """`train.main`, which utils does not import, and the folder that its runs lie in."""

    train: Train
    runs: Path


@dataclass
class Journal:
    """What a command has done; `content` is plain JSON.

    As long as it is there, no other command writes to its folder (`held`).
    """

    folder: Path
    content: dict[str, Any]
    held: ExitStack = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        weakref.finalize(self, self.held.close)

    @staticmethod
    def start(
        folder: str | Path,
        flag: str,
        command: str,
        args: Mapping[str, Any],
        *,
        shared: bool = False,
        **parts: Any,
    ) -> Journal:
        """A new journal of `command`, with its arguments; the folder is what `flag` names.

        `parts` are noted from the first moment on; `shared`: other processes of the command may
        join in. Raises UserError where the place is taken.
        """
        path = require_free(folder, flag)
        held = _held(path)
        require_free(folder, flag)  # also where another command has just begun there
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{flag} {path}: cannot be made ({error.strerror})") from None
        content = {"format": FORMAT, "command": command, "args": dict(args), "runs": {}, **parts}
        journal = Journal(path, content, held)
        journal.save()
        if shared:
            held.close()
        return journal

    @staticmethod
    def load(folder: str | Path, flag: str, command: str, shared: bool = False) -> Journal:
        """The journal of `command` in a folder.

        Raises UserError where there is none and, unless it is `shared`, where another command is at
        work on it.
        """
        path = require_file(Path(folder) / _NAME, f"the state that {flag} needs")
        held = ExitStack() if shared else _held(Path(folder))
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if (content["format"], content["command"]) != (FORMAT, command):
                raise ValueError
            if content.pop("digest") != _digest(content):
                raise UserError(f"{path}: was changed since it was written; begin anew elsewhere")
            if not all(Path(name).name == name for name in content["runs"].values()):
                raise ValueError
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise UserError(f"{path}: is no state of {command}") from None
        return Journal(Path(folder), content, held)

    def note(self, **parts: Any) -> None:
        """Write down what is done."""
        self.content.update(parts)
        self.save()

    def save(self) -> None:
        """Replace the file."""
        with atomic_write(self.folder / _NAME) as temporary:
            content = {"digest": _digest(self.content), **self.content}
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def trained(self, key: str, flags: Sequence[str], trainer: Trainer) -> RunFolder:
        """The run of the training `key`: as it is if done, resumed if begun, else made anew."""
        runs: dict[str, str] = self.content["runs"]
        if key in runs:
            begun = RunFolder(trainer.runs / runs[key])
            if begun.last.is_file():
                if not is_finished(begun.last):
                    trainer.train(["--resume", str(begun.path)])
                return begun
        runs[key] = first_free(trainer.runs / f"{self.folder.name}-{key}").name
        self.save()
        return RunFolder(trainer.train([*flags, "--name", runs[key]]))


def _held(folder: Path) -> ExitStack:
    """The folder, kept from other commands until this is closed. Raises UserError."""
    stack = ExitStack()
    stack.enter_context(alone(folder))
    return stack


def _digest(content: Mapping[str, Any]) -> str:
    """Of what a journal says, whatever the spaces and the order of its text."""
    text = json.dumps(json.loads(json.dumps(content)), sort_keys=True)  # keys as they come back
    return hashlib.sha256(text.encode()).hexdigest()


def is_finished(last: Path) -> bool:
    """Whether the run of a last.pt has done its epochs, or has stopped early."""
    from ..training.checkpoint import load_for_resume  # torch loads when there is work

    checkpoint = load_for_resume(last)
    args, epoch = checkpoint["args"], int(checkpoint["epoch"])
    stopped = 0 < args["patience"] <= epoch - 1 - checkpoint["best_epoch"]
    return bool(epoch >= args["epochs"] or stopped)


def best_scores(run: RunFolder) -> tuple[float, float]:
    """mAP@.5 and mAP@.5:.95 of a finished run's best.pt. Raises UserError if it was not scored."""
    from ..training.checkpoint import load_for_resume

    checkpoint = load_for_resume(run.last)
    for row in checkpoint["results"]:
        if row["epoch"] == checkpoint["best_epoch"] and "val/map50" in row:
            return float(row["val/map50"]), float(row["val/map"])
    raise UserError(f"{run.path}: was not scored; the data set needs a valid= list")
