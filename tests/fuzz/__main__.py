"""Bad input for everything that is read, until the time is over.

    python -m tests.fuzz --minutes 60 --seed 7 --processes 4 --output runs/fuzz

A failure is: an error that is not told in one line, a hang of more than 20 s, more than 2 GiB for
less than 1 MB, a file that nobody named changed or left. Each is kept below --output as a folder
with the smallest input found. The same seed tries the same inputs; a second call with it goes on
where the first one stopped. Ends with status 1 where something failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tests.fuzz.kinds import KINDS
from tests.fuzz.worker import Tally, Worker
from utils.command.files import atomic_write

_SAVE_AFTER_S = 10.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the table, and say by the status whether something failed."""
    args = _parser().parse_args(argv)
    output = Path(args.output)
    output.mkdir(parents=True, exist_ok=True)
    state = output / f"state-{args.seed}.json"
    tallies = _known(state) if state.is_file() else {}
    end = time.monotonic() + 60 * args.minutes
    kinds = [kind for kind in KINDS if kind in (args.only or KINDS)]
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # thousands of small files
    with tempfile.TemporaryDirectory(prefix="darkslim-fuzz-", dir=memory) as name:
        shares = [kinds[k :: args.processes] for k in range(args.processes)]
        with ThreadPoolExecutor(args.processes) as pool:
            jobs = [
                pool.submit(_share, share, args.seed, Path(name) / str(k), state, tallies, end)
                for k, share in enumerate(shares) if share
            ]  # fmt: skip
            for job in jobs:
                job.result()
    _save(state, tallies)
    for kind, tally in sorted(tallies.items()):
        print(f"{kind:<12} {tally.tried:>7} tried {tally.refused:>7} refused", tally.faults or "")
    print(f"{sum(tally.tried for tally in tallies.values()):>20} inputs")
    return int(any(tally.faults for tally in tallies.values()))


def _share(
    kinds: Sequence[str],
    seed: int,
    folder: Path,
    state: Path,
    tallies: dict[str, Tally],
    end: float,
) -> None:
    """One process's kinds, a batch of each in turn; those that are slow get fewer."""
    worker = Worker(seed, folder, state.parent)
    saved = time.monotonic()
    begun = {kind: tallies.setdefault(kind, Tally()).tried for kind in kinds}
    spent = dict.fromkeys(kinds, 0.0)
    batches = {kind: begun[kind] for kind in kinds}  # at most one batch per input that was tried
    while time.monotonic() < end:
        kind = min(kinds, key=lambda k: spent[k])
        started = time.monotonic()
        worker.run(kind, batches[kind], tallies[kind])
        batches[kind] += 1
        spent[kind] += time.monotonic() - started
        if time.monotonic() - saved > _SAVE_AFTER_S:
            saved = time.monotonic()
            _save(state, tallies)
    worker.stop()


def _save(state: Path, tallies: dict[str, Tally]) -> None:
    """What is done so far: a campaign that is killed goes on from there."""
    rows = {kind: asdict(tally) for kind, tally in list(tallies.items())}
    with atomic_write(state) as temporary:
        temporary.write_text(json.dumps(rows, indent=1))


def _known(state: Path) -> dict[str, Tally]:
    return {kind: Tally(**row) for kind, row in json.loads(state.read_text()).items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.fuzz", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=tuple(KINDS), help="these kinds alone")
    parser.add_argument("--output", default="runs/fuzz", help="where failures are kept")
    return parser


if __name__ == "__main__":
    sys.exit(main())
