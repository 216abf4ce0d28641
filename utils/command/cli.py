"""What every command shares: flags in either spelling, sizes, one-line errors, logging."""

from __future__ import annotations

import argparse
import io
import logging
import math
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from types import FrameType
from typing import Any, NoReturn

from .errors import UserError
from .limits import add_tensor_limit
from .second_names import nearest, our_spelling, second_names

USER_ERROR_STATUS, INTERRUPTED_STATUS = 2, 130
_SEEDS = 1 << 63
_MOST_WORKERS = 256
_LONGEST_LINE = 1000
DATA_SET = "a .data file, a data.yaml, a folder as your tool left it, or COCO's JSON"


class Parser(argparse.ArgumentParser):
    """ArgumentParser that knows each flag by every spelling that people of this field type.

    `--a-b` is `--a_b` and back, and other programs' names are read as ours (`second_names`). Of a
    command with many flags, `--help` shows those named `first`, and `--help-all` all.
    """

    def __init__(self, doc: str | None, first: Sequence[str] = (), **options: Any) -> None:
        super().__init__(
            description=doc,
            formatter_class=_Formatter,
            allow_abbrev=False,
            **options,
        )
        self._first = tuple(first)
        what = "all flags, in groups" if first else argparse.SUPPRESS
        self.add_argument(
            "--help-all", action=_HelpAll, nargs=0, default=argparse.SUPPRESS, help=what
        )
        add_tensor_limit(self)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """As argparse's; of a flag that is not known, the message names the nearest that is."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            hint = nearest(unknown, self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return found

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As argparse's, after giving each flag the spelling that the parser knows."""
        given = list(sys.argv[1:] if args is None else args)
        known = [our_spelling(a, b, self._option_string_actions) for a, b in pairwise([*given, ""])]
        return super().parse_known_args(known, namespace)

    def error(self, message: str) -> NoReturn:
        """One line on stderr, exit code 2."""
        print(f"error: {message} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(USER_ERROR_STATUS)

    def format_help(self) -> str:
        """The first flags, where some are named as such; else all."""
        if not self._first:
            return self.format_all()
        shown = [self._option_string_actions[flag] for flag in ("-h", "--help-all", *self._first)]
        formatter = self._get_formatter()
        formatter.add_usage("%(prog)s [flags]", [], [])
        formatter.add_text(self.description)
        formatter.start_section(f"the flags that matter most, of {len(self._actions)}")
        formatter.add_arguments(shown)
        formatter.end_section()
        formatter.add_text(f"All flags: --help-all. {_SPELLINGS}")
        return formatter.format_help()

    def format_all(self) -> str:
        """Every flag, by group, and the second names of those that have some."""
        names = second_names(self._option_string_actions)
        also = f"\nalso understood, as other programs call it:\n{names}" if names else ""
        return f"{super().format_help()}{also}\n{_SPELLINGS}\n"


_PACKAGES = {"torch", "numpy", "cv2", "tensorboard", "terminaltables", "tqdm", "matplotlib"}
_SET_UP = "make setup, then . .venv/bin/activate (or start it with .venv/bin/python)"
_SPELLINGS = "In flags, - and _ are one; a share is .55 or 55%."


class _HelpAll(argparse.Action):
    """Shows `format_all` and ends the program."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        assert isinstance(parser, Parser)
        print(parser.format_all(), end="")
        sys.exit(0)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the docstring's line breaks and adds each flag's default."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        hidden: tuple[object, ...] = (None, argparse.SUPPRESS, False, "", [])
        if text and action.option_strings and action.default not in hidden:
            return f"{text} (default: %(default)s)"
        return text


def add_img_size(parser: argparse._ActionsContainer, default: Sequence[int] | None = None) -> None:
    """Add `--img-size`, one number or H W; read it back with `img_size`."""
    parser.add_argument(
        "--img-size",
        type=positive_int,
        nargs="+",
        default=default,
        metavar="N",
        help="network input in pixels: one number, or height and width; "
        "left out, the cfg's own height and width",
    )


def add_device(parser: argparse._ActionsContainer) -> None:
    """Add `--device`, for `pick_device`."""
    parser.add_argument(
        "--device", default="", help="cpu, cuda or a GPU's number; '' takes a GPU if there is one"
    )


def add_workers(parser: argparse._ActionsContainer) -> None:
    """Add `--workers`, as all commands but train.py have it."""
    parser.add_argument(
        "--workers", type=workers, default=2, help="processes that load images; 0: none"
    )


def img_size(values: Sequence[int] | None, flag: str = "--img-size") -> tuple[int, int] | None:
    """(height, width) of an `--img-size`, or another `flag` like it, None when it was left out.

    Raises UserError for more than two numbers.
    """
    if values is None:
        return None
    if len(values) > 2:
        raise UserError(f"{flag} takes one number or two (height width), got {len(values)}")
    return values[0], values[-1]


def positive_int(text: str) -> int:
    """Type of flags that count something."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def seed(text: str) -> int:
    """Type of seeds, which generators of random numbers take from 0 on."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {text}")
    if value >= _SEEDS:
        raise argparse.ArgumentTypeError(f"must be below 2^63, got {text}")
    return value


def workers(text: str) -> int:
    """Type of `--workers`; -1 may pick."""
    value = int(text)
    if not -1 <= value <= _MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"must be at most {_MOST_WORKERS}, got {text}")
    return value


def number_of(text: str) -> Decimal:
    """A decimal number; `55%` is 0.55. Raises ValueError for anything else."""
    try:
        return Decimal(text[:-1]) / 100 if text.endswith("%") else Decimal(text)
    except InvalidOperation:
        raise ValueError(f"not a number: {text!r}") from None


def ratio(text: str) -> float:
    """Type of flags that hold a share between 0 and 1."""
    value = float(number_of(text))
    if not 0.0 <= value <= 1.0:
        meant = f" (did you mean {text}%?)" if 1.0 < value <= 100.0 and "%" not in text else ""
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1, got {text}{meant}")
    return value


def from_zero(text: str) -> float:
    """Type of flags that hold a weight, a rate or a length."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number from 0 on, got {text}")
    return value


def above_zero(text: str) -> float:
    """Type of flags that something is divided by."""
    value = from_zero(text)
    if not value:
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return value


def run_main(main: Callable[[Sequence[str] | None], Any]) -> None:
    """Run a command; a user's mistake becomes one line on stderr and exit code 2."""
    _outlive_readers()
    _note_interrupts()
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO, stream=sys.stderr)
    try:
        main(None)
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {_line(str(error))}", file=sys.stderr)
        sys.exit(USER_ERROR_STATUS)
    except OSError as error:
        if error.errno is None:
            raise
        print(f"error: {_line(_of_the_system(error))}", file=sys.stderr)
        sys.exit(USER_ERROR_STATUS)
    except ImportError as error:
        if _interrupts:  # by a library that took the interrupt for a missing module
            _say_interrupted()
        if error.name not in _PACKAGES or not isinstance(error, ModuleNotFoundError):
            raise
        print(
            f"error: {error.name} is not installed for {sys.executable}: {_SET_UP}", file=sys.stderr
        )
        sys.exit(USER_ERROR_STATUS)
    except KeyboardInterrupt as cut:
        if not cut.args:  # with words, the command has said what is saved
            _say_interrupted()
        sys.exit(INTERRUPTED_STATUS)


_interrupts: list[int] = []  # the signals that came; what follows may be of an import cut in two


def _note_interrupts() -> None:
    """Note each Ctrl-C, which raises KeyboardInterrupt as before, whatever is made of that."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # somebody else's, or ignored (nohup): theirs to decide

    def note(number: int, frame: FrameType | None) -> None:
        _interrupts.append(number)
        signal.default_int_handler(number, frame)

    with suppress(ValueError):  # not the main thread, which alone hears of it
        signal.signal(signal.SIGINT, note)


def _say_interrupted() -> NoReturn:
    print("interrupted", file=sys.stderr)
    sys.exit(INTERRUPTED_STATUS)


def _line(text: str) -> str:
    """One line that a terminal can show, also where a value of a strange file stands in it."""
    whole = " ".join(text.split())
    if len(whole) <= _LONGEST_LINE:
        return whole
    return f"{whole[: _LONGEST_LINE // 2]} ... {whole[-_LONGEST_LINE // 2 :]}"


def _of_the_system(error: OSError) -> str:
    """What the system refused, and of which file: a full disk or a missing right is no fault."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if isinstance(error.filename, str) else reason


class _Outliving(io.FileIO):
    """A pipe that takes what it is given also after its reader (`| head`) has gone.

    Where there is no room (`> file` on a full disk) it says so once: what Python tries to write
    once more while it ends would only hide that.
    """

    _failed = False

    def write(self, data: Any, /) -> int:
        try:
            return memoryview(data).nbytes if self._failed else super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes
        except OSError as error:
            self._failed = True
            reason = f"what it prints cannot be written ({error.strerror})"
            raise OSError(error.errno, reason) from None


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
