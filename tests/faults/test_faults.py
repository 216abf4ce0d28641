"""Under every single fault: old files intact, no part of a new one, one line, status 2."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.faults.shim import Fault, run
from tests.faults.short_commands import COMMANDS, project, under_faults

SAMPLE = 12  # faults of a command in the default suite, spread over all its operations


@pytest.mark.parametrize("name", COMMANDS)
def test_operations_one_by_one(name: str, tmp_path: Path) -> None:
    command, start = COMMANDS[name], tmp_path / "start"
    project(start)
    tally = under_faults(command, start, tmp_path, command.argv, SAMPLE, every=False)
    assert tally.tried > 1
    assert tally.failures == []


@pytest.mark.parametrize("name", [name for name in COMMANDS if COMMANDS[name].over])
def test_operations_over_older_files(name: str, tmp_path: Path) -> None:
    command, start = COMMANDS[name], tmp_path / "start"
    project(start)
    assert run(command.main, command.argv, Fault(), start).status == 0
    for output in command.outputs:
        path = start / output
        path.write_bytes(path.read_bytes() + b" ")  # an older result, and not the same
    tally = under_faults(command, start, tmp_path, command.again, SAMPLE, every=False)
    assert tally.tried > 1
    assert tally.failures == []


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_each_operation_with_each_error(name: str, tmp_path: Path) -> None:
    command, start = COMMANDS[name], tmp_path / "start"
    project(start)
    tally = under_faults(command, start, tmp_path, command.argv, sys.maxsize)
    assert tally.tried > 20
    assert tally.failures == []
