"""What every command shares: flags in either spelling, sizes, one-line errors, logging."""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .errors import UserError

USER_ERROR_STATUS = 2


class Parser(argparse.ArgumentParser):
    """ArgumentParser that takes `--a-b` for `--a_b` and back, and shows a docstring as it is."""

    def __init__(self, doc: str | None, **options: Any) -> None:
        super().__init__(
            description=doc,
            formatter_class=_Formatter,
            allow_abbrev=False,
            **options,
        )

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As argparse's, after giving each flag the spelling that the parser knows."""
        given = sys.argv[1:] if args is None else args
        return super().parse_known_args([self._known_spelling(a) for a in given], namespace)

    def _known_spelling(self, argument: str) -> str:
        flag, equals, value = argument.partition("=")
        if not flag.startswith("--") or flag in self._option_string_actions:
            return argument
        stem = flag[2:]
        for other in (stem.replace("-", "_"), stem.replace("_", "-")):
            if f"--{other}" in self._option_string_actions:
                return f"--{other}{equals}{value}"
        return argument

    def error(self, message: str) -> NoReturn:
        """One line on stderr, exit code 2."""
        print(f"{self.prog}: {message} (see --help)", file=sys.stderr)
        sys.exit(USER_ERROR_STATUS)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the docstring's line breaks and adds each flag's default."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        hidden: tuple[object, ...] = (None, argparse.SUPPRESS, False, "", [])
        if text and action.option_strings and action.default not in hidden:
            return f"{text} (default: %(default)s)"
        return text


def add_img_size(parser: Parser, default: Sequence[int] | None = None) -> None:
    """Add `--img_size`, one number or H W; read it back with `img_size`."""
    parser.add_argument(
        "--img_size",
        type=positive_int,
        nargs="+",
        default=default,
        metavar="N",
        help="network input in pixels: one number, or height and width; "
        "left out, the cfg's own height and width",
    )


def add_device(parser: Parser) -> None:
    """Add `--device`, for `pick_device`."""
    parser.add_argument(
        "--device", default="", help="cpu, cuda or a GPU's number; '' takes a GPU if there is one"
    )


def add_workers(parser: Parser) -> None:
    """Add `--workers`, as all commands but train.py have it."""
    parser.add_argument(
        "--workers", type=int, default=2, help="processes that load images; 0: none"
    )


def img_size(values: Sequence[int] | None) -> tuple[int, int] | None:
    """(height, width) of an `--img_size`, None when it was left out.

    Raises UserError for more than two numbers.
    """
    if values is None:
        return None
    if len(values) > 2:
        raise UserError(f"--img_size takes one number or two (height width), got {len(values)}")
    return values[0], values[-1]


def positive_int(text: str) -> int:
    """Type of flags that count something."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def ratio(text: str) -> float:
    """Type of flags that hold a share between 0 and 1."""
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1, got {text}")
    return value


def run_main(main: Callable[[Sequence[str] | None], Any]) -> None:
    """Run a command; a user's mistake becomes one line on stderr and exit code 2."""
    _outlive_readers()
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO, stream=sys.stderr)
    try:
        main(None)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USER_ERROR_STATUS)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


class _Outliving(io.FileIO):
    """A pipe that takes what it is given also after its reader (`| head`) has gone."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def _outlive_readers() -> None:
    """Let a command do all its work, whoever reads what it says: its files are what was asked."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is not io.TextIOWrapper or stream.isatty():
            continue  # a terminal, a test's stand-in, or none at all
        stream.flush()
        raw = _Outliving(stream.fileno(), "wb", closefd=False)
        patient = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=name == "stderr",
        )
        setattr(sys, name, patient)
