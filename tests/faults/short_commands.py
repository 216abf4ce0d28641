"""Commands of seconds that write: what each must leave after any single fault."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import export
import make_cfg
import mask_prune
import slim_prune
import translate
from models import Darknet
from tests.faults.long_commands import convert_file
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
from tests.fuzz import corpus
from tests.support.training_project import write_project
from utils.annotations.__main__ import main as convert_annotations

Main = Callable[[list[str]], Any]


CORPORA = {"voc": corpus.write_voc, "coco": corpus.write_coco, "foreign": corpus.write_foreign}


def project(folder: Path) -> None:
    """What the commands below name."""
    folder.mkdir(parents=True, exist_ok=True)
    write_project(folder)
    Darknet(folder / "my.cfg").save_weights(folder / "my.weights")
    for name, write in CORPORA.items():
        (folder / name).mkdir()
        write(folder / name)


MODEL = ["--cfg", "my.cfg", "--weights", "my.weights"]


@dataclass(frozen=True)
class Command:
    """A command that writes; `outputs` must all be new or all be as they were."""

    main: Main
    argv: list[str]
    outputs: tuple[str, ...]
    over: tuple[str, ...] = ()  # flags with which it replaces what is there

    @property
    def again(self) -> list[str]:
        """Over what is there."""
        return [*self.argv, *self.over]


COMMANDS = {
    "prune": Command(
        slim_prune.main,
        [*MODEL, "--name", "cut", "--project", "out", "--global-percent", "0.3"],
        ("out/cut/cut.cfg", "out/cut/cut.weights", "out/cut/cut.plan.json"),
        ("--force",),
    ),
    "export": Command(
        export.main,
        [*MODEL, "--format", "darknet", "--output", "pair"],
        ("pair.cfg", "pair.weights"),
        ("--force",),
    ),
    "make_cfg": Command(
        make_cfg.main,
        ["--cfg", "my.cfg", "--data", "my.data", "--output", "new.cfg"],
        ("new.cfg",),
        ("--force",),
    ),
    "convert": Command(convert_file, ["my.cfg", "my.weights"], ("converted.pt",)),
    "mask": Command(
        mask_prune.main,
        [*MODEL, "--amount", "0.3", "--method", "l1_unstructured"],
        ("mask_l1_unstructured_0.3_my.pt", "mask_l1_unstructured_0.3_my.weights"),
        ("--force",),
    ),
    "voc": Command(convert_annotations, ["voc", "voc", "set"], ("set/set.data", "set/set.names")),
    "coco": Command(
        convert_annotations, ["coco", "coco", "set"], ("set/set.data", "set/set.names")
    ),
    "translate": Command(
        translate.main,
        [*MODEL, "--output", "net.cfg"],
        ("net.cfg", "net.weights"),
        ("--force",),
    ),
    "translate-foreign": Command(
        translate.main,
        ["--weights", "foreign/theirs.pt", "--output", "net.cfg"],
        ("net.cfg", "net.weights", "net.names"),
        ("--force",),
    ),
}  # fmt: skip


def faults(counts: dict[str, int], every: bool) -> Iterator[Fault]:
    """Each operation once, with the errors in turn; or with each error."""
    turns = itertools.cycle(ERRORS)
    for kind in KINDS:
        for n in range(1, counts[kind] + 1):
            chosen = ERRORS if every else (next(turns),)
            yield from (Fault(kind, n, error) for error in chosen)
    yield from (Fault("write", n, SHORT) for n in range(1, counts["write"] + 1, 1 if every else 7))


def check(command: Command, ended: Ended, before: dict[str, str], folder: Path) -> None:
    """What must hold after a fault, whatever it was."""
    after = state(folder)
    there = [name for name in command.outputs if after.get(name) != before.get(name)]
    if ended.status == 0:
        assert len(there) in (0, len(command.outputs))
        assert set(command.outputs) <= set(after)
    else:
        assert ended.status == 2, ended.said
        assert len(ended.errors) == 1, ended.said
        assert there == []
        assert {name: after.get(name) for name in before} == before
    assert "Traceback" not in ended.said
    left = {name for name in set(after) - set(before) if "/." in f"/{name}"}
    assert left == set(), ended.said


def under_faults(
    command: Command, start: Path, folder: Path, argv: list[str], most: int, every: bool = True
) -> Tally:
    """At most so many faults, each on a fresh copy; `every` operation with each error.

    Raises AssertionError where the command fails without one.
    """
    work = folder / "work"
    sound = run(command.main, argv, Fault(), fresh(start, work))
    assert sound.status == 0, sound.said
    imported(sound.modules)
    chosen, tally, before = list(faults(sound.counts, every)), Tally(), state(start)
    for fault in chosen[:: max(1, -(-len(chosen) // most))]:
        ended = run(command.main, argv, fault, fresh(start, work))
        tally.tried += 1
        tally.stopped += ended.status != 0
        try:
            check(command, ended, before, work)
            assert fault.error != SHORT or ended.status == 0
        except AssertionError as error:
            tally.failures.append(f"{fault}: {error}\n{ended.said}")
            print(tally.failures[-1], file=sys.stderr, flush=True)
    return tally
