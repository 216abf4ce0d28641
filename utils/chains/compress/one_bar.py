"""One bar over all stages of a compression: which one it is at, and the time left in all.

What inner commands say (lines of a log, tables, bars of their own) goes to a file in the run's
folder. Where stderr is no terminal, a line is said there now and then.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...command.progress import SILENCE_S, Step, duration, terminal_size, watched

LOG = "compress.log"
_REDRAW_S = 0.2
_DONE_S = 0.2  # that a stage takes whose work is there already, at most
_TOLD = 0.02  # of a stage: less of it says nothing yet of the whole


@dataclass(frozen=True)
class _Expected:
    seconds: float
    trains: bool


class TimeLeft:
    """How long stages take: as expected, until they tell by how they go on.

    Trainings that follow are expected to be off by as much as the last one, short stages too.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._began = now()
        self._expected: dict[str, _Expected] = {}
        self._stage = ""
        self._stage_began = 0.0
        self._first: tuple[float, float] | None = None  # share and time, as the stage first told
        self._last: tuple[float, float] | None = None
        self._off = {True: 1.0, False: 1.0}  # of trainings, of others

    def expect(self, stage: str, seconds: float, trains: bool = False) -> None:
        """A stage is to come, or one that was expected takes so long."""
        self._expected[stage] = _Expected(seconds, trains)

    def expected_s(self, stage: str) -> float:
        """Seconds that a stage was expected to take; 0 where nobody expected it."""
        return self._expected[stage].seconds if stage in self._expected else 0.0

    def forget(self) -> None:
        """Nothing is expected any more."""
        self._expected.clear()

    def begin(self, stage: str) -> None:
        """A stage begins; those expected before it that never began are left out."""
        if stage in self._expected:
            while next(iter(self._expected)) != stage:
                del self._expected[next(iter(self._expected))]
        self._stage, self._stage_began = stage, self._now()
        self._first = self._last = None

    def end(self) -> None:
        """The stage is over."""
        expected, took_s = self._expected.pop(self._stage, None), self._now() - self._stage_began
        # What was done before the run was killed takes no time now, and tells nothing.
        if expected is not None and not expected.trains and expected.seconds and took_s > _DONE_S:
            self._off[False] = took_s / expected.seconds
        self._stage = ""

    def tell(self, share: float) -> None:
        """So much of the stage is done, counting what an earlier run did of it."""
        self._last = share, self._now()
        if self._first is None:
            self._first = self._last
        expected = self._expected.get(self._stage)
        whole = self._whole()
        if expected is not None and expected.trains and whole is not None and expected.seconds:
            self._off[True] = whole / expected.seconds

    def _whole(self) -> float | None:
        """Seconds of the whole stage, by how it went on so far."""
        if self._first is None or self._last is None:
            return None
        told = self._last[0] - self._first[0]
        return (self._last[1] - self._first[1]) / told if told >= _TOLD else None

    def left_s(self) -> float | None:
        """Seconds until all is done; None while nothing is expected."""
        if not self._expected:
            return None
        left = 0.0
        for stage, expected in self._expected.items():
            seconds = expected.seconds * self._off[expected.trains]
            if stage == self._stage:
                seconds = self._of_stage(seconds)
            left += seconds
        return left

    def _of_stage(self, expected: float) -> float:
        if self._last is None:
            return max(0.0, expected - (self._now() - self._stage_began))
        share, told_at = self._last
        whole = self._whole() or expected
        return max(0.0, whole * (1 - share) - (self._now() - told_at))

    def done(self) -> float:
        """The share of this run's time that has passed."""
        spent, left = self._now() - self._began, self.left_s()
        return spent / (spent + left) if left is not None and spent + left > 0 else 0.0


class OneBar:
    """Shows stages; see `one_bar`."""

    def __init__(self, log: Any) -> None:
        self.times = TimeLeft()
        self.log = log  # what inner commands print goes here
        self.told: list[str] = []  # lines of the run itself
        self._out = sys.stdout
        self._tty = sys.stderr is not None and sys.stderr.isatty()
        self._bar: Any = None
        self._stage = ""
        self._shown_at = time.monotonic()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """While the stage `name` goes on; what is printed meanwhile goes to the log."""
        self._stage = name
        self.times.begin(name)
        print(f"== {time.strftime('%Y-%m-%d %H:%M:%S')}, {name}", file=self.log, flush=True)
        self._show("", self._tty or self.times.expected_s(name) >= SILENCE_S)
        with redirect_stdout(self.log), watched(self._heard):
            yield
        self.times.end()
        self._stage = ""

    def say(self, text: str) -> None:
        """A line of the run itself, above the bar."""
        self.told.append(text)
        self.show_line(text)

    def show_line(self, text: str) -> None:
        """A line of somebody else, above the bar."""
        if self._bar is not None:
            self._bar.clear()
        print(text, file=self._out, flush=True)
        if self._bar is not None:
            self._bar.refresh()

    def close(self) -> None:
        """Take the bar off."""
        if self._bar is not None:
            self._bar.close()

    def _heard(self, step: Step) -> None:
        if step.share is not None:
            self.times.tell(step.share)
        every = _REDRAW_S if self._tty else SILENCE_S
        self._show(step.what, time.monotonic() - self._shown_at >= every)

    def _show(self, what: str, now: bool) -> None:
        if not now:
            return
        self._shown_at = time.monotonic()
        left_s = self.times.left_s()
        left = "" if left_s is None else f"{duration(left_s)} left in all"
        if not self._tty:
            said = ", ".join(part for part in (self._stage, what, left) if part)
            print(f"{time.strftime('%H:%M')} {said}", file=sys.stderr, flush=True)
            return
        if self._bar is None:
            self._bar = _terminal_bar()
        self._bar.set_description_str(self._stage, refresh=False)
        self._bar.bar_format = "{l_bar}{bar}| " + left.replace("{", "{{").replace("}", "}}")
        self._bar.n = min(1.0, self.times.done())
        self._bar.refresh()


def _terminal_bar() -> Any:
    from tqdm import tqdm  # here, so that --help needs no package

    columns, rows = terminal_size()
    return tqdm(total=1.0, leave=False, ncols=columns, nrows=rows, file=sys.stderr)


class _Once(logging.Handler):
    """Says each warning above the bar once: every inner training would say it again."""

    def __init__(self, bar: OneBar) -> None:
        super().__init__(logging.WARNING)
        self._bar = bar
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self._said:
            self._said.add(text)
            self._bar.show_line(f"{record.levelname}: {text}")


@contextmanager
def one_bar(folder: Path) -> Iterator[OneBar]:
    """The bar of a run in `folder`, whose log lines go to FOLDER/compress.log while it is there."""
    root = logging.getLogger()
    shown = [each for each in root.handlers if type(each) is logging.StreamHandler]
    with ExitStack() as stack:
        log = stack.enter_context((folder / LOG).open("a", encoding="utf-8"))
        bar = OneBar(log)
        stack.callback(bar.close)
        kept = logging.StreamHandler(log)
        kept.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        for handler in (kept, _Once(bar)):
            root.addHandler(handler)
            stack.callback(root.removeHandler, handler)
        for handler in shown:
            root.removeHandler(handler)
            stack.callback(root.addHandler, handler)
        yield bar
