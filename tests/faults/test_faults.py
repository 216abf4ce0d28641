"""Under every single fault: old files intact, no part of a new one, one line, status 2."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import export
import make_cfg
import mask_prune
import slim_prune
from models import Darknet, convert
from tests.faults.shim import ERRORS, KINDS, SHORT, Ended, Fault, run, state
from tests.fuzz import corpus
from tests.support.training_project import write_project
from utils.annotations.__main__ import main as convert_annotations

Main = Callable[[list[str]], Any]


def project(folder: Path) -> None:
    write_project(folder)
    Darknet(folder / "my.cfg").save_weights(folder / "my.weights")
    corpus.write_voc(_made(folder / "voc"))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def convert_main(argv: list[str]) -> None:
    convert(*argv)


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
    "convert": Command(convert_main, ["my.cfg", "my.weights"], ("converted.pt",)),
    "mask": Command(
        mask_prune.main,
        [*MODEL, "--amount", "0.3", "--method", "l1_unstructured"],
        ("mask_l1_unstructured_0.3_my.pt", "mask_l1_unstructured_0.3_my.weights"),
        ("--force",),
    ),
    "voc": Command(convert_annotations, ["voc", "voc", "set"], ("set/set.data", "set/set.names")),
}  # fmt: skip


def faults(counts: dict[str, int], every: bool) -> Iterator[Fault]:
    """Each operation once, with the errors in turn; or with each error."""
    turns = itertools.cycle(ERRORS)
    for kind in KINDS:
        for n in range(1, counts[kind] + 1):
            chosen = ERRORS if every else (next(turns),)
            yield from (Fault(kind, n, error) for error in chosen)
    yield from (Fault("write", n, SHORT) for n in range(1, counts["write"] + 1, 1 if every else 7))


def one_in(faults: Iterator[Fault], step: int) -> Iterator[Fault]:
    return itertools.islice(faults, 0, None, step)


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


def under_faults(command: Command, folder: Path, start: Path, argv: list[str], every: bool) -> int:
    """Faults of a command, each on a copy of `start`: `every`, or one in four of the operations.

    How many there were.
    """

    def fresh() -> dict[str, str]:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(start, folder)
        return state(folder)

    before = fresh()
    sound = run(command.main, argv, Fault(), folder)
    assert sound.status == 0, sound.said
    tried = 0
    for fault in one_in(faults(sound.counts, every), 1 if every else 4):
        before = fresh()
        ended = run(command.main, argv, fault, folder)
        try:
            check(command, ended, before, folder)
        except AssertionError as error:
            raise AssertionError(f"{fault}: {error}\n{ended.said}") from None
        if fault.error == SHORT:
            assert ended.status == 0, f"{fault}\n{ended.said}"
        tried += 1
    return tried


@pytest.mark.parametrize("name", COMMANDS)
def test_operations_one_by_one(name: str, tmp_path: Path) -> None:
    command = COMMANDS[name]
    project(_made(tmp_path / "start"))
    tried = under_faults(command, tmp_path / "work", tmp_path / "start", command.argv, False)
    assert tried > 1


@pytest.mark.parametrize("name", [name for name in COMMANDS if COMMANDS[name].over])
def test_operations_over_older_files(name: str, tmp_path: Path) -> None:
    command, start = COMMANDS[name], _made(tmp_path / "start")
    project(start)
    assert run(command.main, command.argv, Fault(), start).status == 0
    for output in command.outputs:
        path = start / output
        path.write_bytes(path.read_bytes() + b" ")  # an older result, and not the same
    assert under_faults(command, tmp_path / "work", start, command.again, False) > 1


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_each_operation_with_each_error(name: str, tmp_path: Path) -> None:
    command = COMMANDS[name]
    project(_made(tmp_path / "start"))
    tried = under_faults(command, tmp_path / "work", tmp_path / "start", command.argv, True)
    assert tried > 20
