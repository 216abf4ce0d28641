"""A process that reads input after input, and the one that watches it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import shutil
import tempfile
import warnings
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.kinds import KINDS
from tests.fuzz.one_input import MOST_S, Outcome, change, fresh, judged, smallest

BATCH = 20
_PATIENCE_S = 10 * MOST_S  # the watcher sees the wall alone, on a machine that may be busy
_MOST_DATA = 6 << 30  # of a process: more ends in a MemoryError, not in the machine's


@dataclass
class Tally:
    """What came of the inputs of one kind."""

    tried: int = 0
    refused: int = 0
    faults: dict[str, int] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> bool:
        """Count one; whether it is a fault not seen before."""
        self.tried += 1
        self.refused += outcome.refused
        if outcome.fault:
            self.faults[outcome.fault] = self.faults.get(outcome.fault, 0) + 1
        return bool(outcome.fault) and self.faults[outcome.fault] == 1


class Worker:
    """A process of its own; where an input ends or stops it, another takes its place."""

    def __init__(self, base_seed: int, folder: Path, kept: Path) -> None:
        self._seed, self._folder, self._kept = base_seed, folder, kept
        self._start()

    def _start(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        start = multiprocessing.get_context("fork").Process
        self._process = start(target=_serve, args=(theirs, self._seed, self._folder), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe = ours

    def run(self, kind: str, batch: int, tally: Tally) -> None:
        """Try one batch of a kind."""
        self._pipe.send((kind, batch))
        try:
            while self._pipe.poll(_PATIENCE_S):
                found = self._pipe.recv()
                if found is None:
                    return
                outcome, name = found
                if tally.add(outcome):
                    self._keep(kind, outcome, name)
            outcome = Outcome(fault="hangs")
        except EOFError:
            outcome = Outcome(fault="ends the process")
        if tally.add(outcome):
            self._keep(kind, outcome, "")
        self.stop()
        self._start()

    def _keep(self, kind: str, outcome: Outcome, name: str) -> None:
        words = "".join(c if c.isalnum() else "-" for c in outcome.fault)[:80]
        target = self._kept / f"{kind}-{words}"
        shutil.copytree(self._folder / "in", target, dirs_exist_ok=True, symlinks=True)
        (target / "FAULT").write_text(
            f"{outcome.fault}\n{name}\n{outcome.told}\n", "utf-8", "replace"
        )
        if name:
            self._pipe.send(("", 0))  # goes on once the input is copied

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Connection, base_seed: int, folder: Path) -> None:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries of images speak of each damage
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_DATA, _MOST_DATA))
    tempfile.tempdir = str(folder)
    seen: set[tuple[str, str]] = set()

    def tell(kind: str, name: str) -> None:
        work = folder / "in"
        outcome = judged(KINDS[kind], work)
        new = bool(outcome.fault) and (kind, outcome.fault) not in seen
        if new:
            seen.add((kind, outcome.fault))
            if not outcome.fault.startswith("took"):
                smallest(kind, work, name, outcome.fault)
        pipe.send((outcome, name))
        if new:
            pipe.poll(5) and pipe.recv()  # the watcher may have seen it already: no answer then

    while True:
        kind, batch = pipe.recv()
        if not kind:
            continue
        if KINDS[kind].tree is not None and batch % 2:
            _structured(kind, batch, base_seed, folder, tell)
        else:
            for number in range(batch * BATCH, (batch + 1) * BATCH):
                tell(kind, change(kind, number, base_seed, fresh(kind, folder)))
        pipe.send(None)


def _structured(kind: str, batch: int, base_seed: int, folder: Path, tell: Any) -> None:
    made = KINDS[kind]
    assert made.tree is not None and made.dump is not None
    dump, name = made.dump, made.files[0]

    @seed(base_seed * 1_000_003 + batch)
    @settings(
        max_examples=BATCH,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(made.tree())
    def tried(value: Any) -> None:
        work = fresh(kind, folder)
        try:
            dump(value, work / name)
        except (ValueError, TypeError, OverflowError, RuntimeError, NotImplementedError):
            return  # what the writer itself cannot say is no file
        tell(kind, name)

    tried()
