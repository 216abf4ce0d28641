"""SIGKILL at random moments of the long commands, then `--resume`: what an undisturbed one writes.

    python -m tests.faults.kills --kills 20 --seed 7
    python -m tests.faults.kills --only train export --signals KILL TERM INT

A trial starts a command anew, kills it and all it has started after a random share of the time that
it takes, and goes on as a user would: --resume where it has something to go on from, else the same
command again. A file under its own name that is cut short, or an end with other bytes, is a fault.
Ends with status 1 where there was one.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from tests.faults.long_commands import CASES, NOTHING_TO_DO, Case, going_on, write_start
from tests.faults.shim import Fault, fresh, imported, run
from tests.support.training_project import assert_same

_MOST_DYING_S = 2  # where nothing reaps orphans, they stay in their group, dead


def trial(
    case: Case, start: Path, folder: Path, after_s: float, how: signal.Signals = signal.SIGKILL
) -> bool:
    """End a command and let it go on to its end; whether it still ran when it was ended.

    Raises AssertionError where a later command does not end well, or where Ctrl-C is answered by
    more than words.
    """
    fresh(start, folder)
    met = []

    def end(child: int) -> None:
        met.append(_ended_after(child, after_s, how))

    ended = run(case.main, case.argv, Fault(), folder, end)
    assert "Traceback" not in ended.said, ended.said
    again = going_on(case, folder)
    done = any(words in again.said for words in NOTHING_TO_DO)
    assert again.status == 0 or (again.status == 2 and done), again.said
    return met[0]


def _ended_after(child: int, after_s: float, how: signal.Signals) -> bool:
    end = time.monotonic() + after_s
    while time.monotonic() < end:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return False
        time.sleep(0.002)
    os.killpg(child, how)
    if how == signal.SIGKILL:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        _wait_for_all(child)
    return True


def _wait_for_all(group: int) -> None:
    """Until what the killed one has started is gone too: till then its locks are rightly held."""
    end = time.monotonic() + _MOST_DYING_S
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        if _alone(group):
            return
        time.sleep(0.002)


def _alone(group: int) -> bool:
    """Whether nobody is left of a group but its dead first, who waits for us."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            words = status.read_text().rpartition(")")[2].split()
            if int(words[2]) == group and words[0] != "Z":
                return False
    return True


def require_same(case: Case, whole: Path, folder: Path) -> None:
    """Raise AssertionError where a folder does not end as the undisturbed one did.

    Of last.pt the words of the command and the times of epochs may differ, and no number else.
    """
    for name in case.ends_with:
        found, wanted = folder / name, whole / name
        if name.endswith("last.pt"):
            kept = [torch.load(path, weights_only=True) for path in (found, wanted)]
            assert_same(*({k: v for k, v in each.items() if k != "args"} for each in kept))
        else:
            assert found.read_bytes() == wanted.read_bytes(), f"{name} differs"
    # A lock of a dead process is no lock, and goes with the next command that writes there.
    hidden = [path for path in folder.rglob(".*") if path.is_file()]
    left = [str(path) for path in hidden if not path.name.startswith(".darkslim-lock.")]
    assert not left, f"left behind: {left}"


def kills_of(
    case: Case, seed: str, kills: int, folder: Path, signals: Sequence[str] = ("KILL",)
) -> list[str]:
    """Trials of a command until so many kills have met it; the faults, one line each.

    The signals take turns.
    """
    start, whole = folder / "start", folder / "whole"
    if not start.exists():
        write_start(start)
    imported(run(case.main, case.argv, Fault(), fresh(start, whole)).modules)
    begun = time.monotonic()
    sound = run(case.main, case.argv, Fault(), fresh(start, whole))
    takes_s = time.monotonic() - begun
    assert sound.status == 0, sound.said
    moments, met, faults = random.Random(seed), 0, []
    while met < kills:
        after_s = takes_s * moments.random()
        how = signal.Signals[f"SIG{signals[met % len(signals)]}"]
        killed = True  # also where what follows fails
        try:
            killed = trial(case, start, folder / "work", after_s, how)
            require_same(case, whole, folder / "work")
        except AssertionError as error:
            faults.append(f"{how.name} after {after_s:.3f} of {takes_s:.3f} s: {error}")
        met += killed
        print(f"{met} of {kills}, {len(faults)} faults", file=sys.stderr, flush=True)
    return faults


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print a line per command, and say by the status whether something failed."""
    parser = argparse.ArgumentParser(
        "python -m tests.faults.kills", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--kills", type=int, default=20, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--signals", nargs="+", choices=("KILL", "TERM", "INT"), default=["KILL"],
        help="in turns; INT is Ctrl-C",
    )  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=tuple(CASES), help="these commands alone")
    args = parser.parse_args(argv)
    bad = 0
    for name in args.only or CASES:
        with tempfile.TemporaryDirectory(prefix="darkslim-kills-") as folder:
            faults = kills_of(
                CASES[name], f"{args.seed} {name}", args.kills, Path(folder), args.signals
            )
        line = f"{name:<16} {args.kills} kills, {len(faults)} faults"
        print(line, *faults, sep="\n  ", flush=True)
        bad += len(faults)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
