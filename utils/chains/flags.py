"""Runs that can be resumed: their flags are read once, and again from the run's journal."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..command.cli import Parser
from ..command.errors import UserError

Options = TypeVar("Options")


@dataclass(frozen=True)
class AskedRun(Generic[Options]):
    """What a run does, and where.

    options: None for a run that goes on, whose journal has them. output: a new folder; "": a free
    one of the command's own. resume: the folder of a run to go on with; "": a new one. typed: the
    flags, for the journal.
    """

    options: Options | None
    output: str
    resume: str
    typed: Mapping[str, object]


def read_run(
    parser: Parser,
    argv: Sequence[str] | None,
    options_of: Callable[[argparse.Namespace], Options],
) -> AskedRun[Options]:
    """What the flags ask for; argv None: those of this process.

    The parser has --output and --resume. Raises UserError, also where --resume is given together
    with any other flag.
    """
    args = parser.parse_args(argv)
    changed = [k for k, v in vars(args).items() if k != "resume" and v != parser.get_default(k)]
    if args.resume and changed:
        flag = changed[0].replace("_", "-")
        raise UserError(f"--{flag}: a resumed run keeps its flags; give --resume alone")
    options = None if args.resume else options_of(args)
    return AskedRun(options, args.output or "", args.resume or "", vars(args))


def saved_run(
    parser: Parser,
    saved: Mapping[str, object],
    options_of: Callable[[argparse.Namespace], Options],
) -> Options:
    """What the flags of a journal asked for; those that it does not know have their defaults."""
    return options_of(parser.parse_args([], argparse.Namespace(**saved)))
