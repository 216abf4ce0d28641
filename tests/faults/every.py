"""Each operation of each command that writes fails once: what was tried and what went wrong.

    python -m tests.faults.every
    python -m tests.faults.every --only train prune-each-error --most 40

Of a long command every write, sync, rename, folder, file and link fails with the errors in turn,
and one write in eight is cut short; afterwards it goes on as a user would (--resume) and has to end
in the bytes of an undisturbed one. Of a short command each operation fails with each error. Ends
with status 1 where something went wrong.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults import short_commands
from tests.faults.kills import require_same
from tests.faults.long_commands import CASES, NOTHING_TO_DO, Case, going_on, write_start
from tests.faults.shim import (
    ERRORS,
    KINDS,
    SHORT,
    Ended,
    Fault,
    Tally,
    fresh,
    imported,
    run,
    state,
)  # fmt: skip

_SHORT_ONE_IN = 8
# Some stand in both tables: here each operation fails with each error.
_EACH_ERROR = {f"{name}-each-error": found for name, found in short_commands.COMMANDS.items()}


def each(counts: dict[str, int]) -> Iterator[Fault]:
    """Every operation once, with the errors in turn, and some writes that are cut short."""
    errors = itertools.cycle(ERRORS)
    for kind in KINDS:
        yield from (Fault(kind, n, next(errors)) for n in range(1, counts[kind] + 1))
    yield from (Fault("write", n, SHORT) for n in range(1, counts["write"] + 1, _SHORT_ONE_IN))


def check(case: Case, ended: Ended, before: dict[str, str], folder: Path) -> None:
    """One line and status 2, or all is well; what was there is as it was; nothing is hidden."""
    after = state(folder)
    assert "Traceback" not in ended.said, ended.said
    assert {name: after.get(name) for name in before} == before, ended.said
    assert [name for name in after if "/." in f"/{name}"] == [], ended.said
    if ended.status:
        assert (ended.status, len(ended.errors)) == (2, 1), ended.said
    else:
        assert set(case.ends_with) <= set(after), ended.said


def of_a_long_command(case: Case, start: Path, folder: Path, most: int) -> Tally:
    """At most so many faults, spread over all operations. Raises AssertionError without one."""
    whole, work, before = folder / "whole", folder / "work", state(start)
    sound = run(case.main, case.argv, Fault(), fresh(start, whole))
    check(case, sound, before, whole)
    assert sound.status == 0, sound.said
    imported(sound.modules)
    faults, tally = list(each(sound.counts)), Tally()
    step = max(1, -(-len(faults) // most))
    for fault in faults[step // 2 :: step]:
        tally.tried += 1
        ended = run(case.main, case.argv, fault, fresh(start, work))
        tally.stopped += ended.status != 0
        try:
            check(case, ended, before, work)
            assert fault.error != SHORT or ended.status == 0, ended.said
            if ended.status:
                again = going_on(case, work)
                done = any(words in again.said for words in NOTHING_TO_DO)
                assert again.status == 0 or done, again.said
                check(case, Ended(0, again.said, {}), before, work)
            require_same(case, whole, work)
        except AssertionError as error:
            tally.failures.append(f"{fault}: {error}\n{ended.said}")
            print(tally.failures[-1], file=sys.stderr, flush=True)
        print(f"{tally.tried} of {len(faults[step // 2 :: step])}", file=sys.stderr, flush=True)
    return tally


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print a line per command, and say by the status whether something failed."""
    parser = argparse.ArgumentParser(
        "python -m tests.faults.every", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    names = (*_EACH_ERROR, *CASES)
    parser.add_argument("--only", nargs="+", choices=names, help="these commands alone")
    parser.add_argument("--most", type=int, default=sys.maxsize, help="faults of each, spread")
    args = parser.parse_args(argv)
    bad = 0
    for name in args.only or names:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="darkslim-faults-") as folder:
            tally = _of(name, Path(folder), args.most)
        seconds = time.monotonic() - begun
        print(
            f"{name:<16} {tally.tried} faults, {tally.stopped} ended it, "
            f"{len(tally.failures)} failures, {seconds:.0f} s",
            flush=True,
        )
        bad += len(tally.failures)
    return int(bad > 0)


def _of(name: str, folder: Path, most: int) -> Tally:
    if name in CASES:
        write_start(folder / "start")
        return of_a_long_command(CASES[name], folder / "start", folder, most)
    command = _EACH_ERROR[name]
    short_commands.project(folder / "start")
    return short_commands.under_faults(command, folder / "start", folder, command.argv, most)


if __name__ == "__main__":
    sys.exit(main())
