"""Some of the campaign in every run of the tests, more of it with -m slow; and its own controls."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz import kinds, one_input, worker
from tests.fuzz.__main__ import main
from tests.fuzz.kinds import KINDS, Kind
from tests.fuzz.mutate import mutated
from tests.fuzz.one_input import change, fresh, judged, smallest
from utils.command.errors import UserError


@pytest.mark.parametrize("kind", KINDS)
def test_right_files_are_read(kind: str, tmp_path: Path) -> None:
    """Else every input would be refused, and nothing tested."""
    outcome = judged(KINDS[kind], fresh(kind, tmp_path))
    assert (outcome.fault, outcome.told, outcome.refused) == ("", "", False)


@pytest.mark.parametrize("kind", KINDS)
def test_some_inputs_of_each_kind(kind: str, tmp_path: Path) -> None:
    for number in range(8):
        name = change(kind, number, 77, fresh(kind, tmp_path))
        outcome = judged(KINDS[kind], tmp_path / "in")
        assert not outcome.fault, f"input {number} ({name}): {outcome.fault}: {outcome.told}"


@pytest.mark.slow
def test_an_hour(tmp_path: Path) -> None:
    assert main(["--minutes", "60", "--seed", "1", "--output", str(tmp_path)]) == 0


def test_the_same_seed_gives_the_same_inputs() -> None:
    data = b"[net]\nwidth=3\n[convolutional]\nfilters=8\n"
    first, again, other = (
        [mutated(data, chance) for _ in range(50)]
        for chance in (random.Random(1), random.Random(1), random.Random(2))
    )
    assert first == again != other
    assert len(set(first)) > 40


def raises(folder: Path) -> None:
    if b"7" in (folder / "a").read_bytes():
        raise KeyError("seven")
    raise UserError("refused")


def writes(folder: Path) -> None:
    (folder / "b").write_text("not named")


def says_nothing(folder: Path) -> None:
    raise UserError("")


def takes_much(folder: Path) -> None:
    assert b"x" * (768 << 20)  # more than a long-lived process keeps of what was freed


def kind_of(read: Callable[[Path], None]) -> Kind:
    return Kind(lambda folder: (folder / "a").write_text("12345678" * 9), read, ("a",))


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (raises, "KeyError test_fuzz.py"),
        (writes, "files that nobody named"),
        (says_nothing, "says nothing"),
        (takes_much, "took "),
    ],
)
def test_faults_are_noticed(
    tmp_path: Path, read: Callable[[Path], None], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_input, "MOST_BYTES", 8 << 20)
    (tmp_path / "a").write_text("12345678")
    assert judged(kind_of(read), tmp_path).fault.startswith(fault)


def test_a_crash_is_kept_small_and_a_second_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(kinds.KINDS, "args", kind_of(raises))
    argv = ["--minutes", "0.03", "--processes", "1", "--only", "args", "--output", str(tmp_path)]
    assert main(argv) == 1
    (kept,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert (kept / "a").read_bytes() == b"7"
    assert (kept / "FAULT").read_text().startswith("KeyError test_fuzz.py")
    tried = json.loads((tmp_path / "state-0.json").read_text())["args"]["tried"]
    assert tried >= worker.BATCH
    assert main(argv) == 1
    assert json.loads((tmp_path / "state-0.json").read_text())["args"]["tried"] > tried


def test_smallest_keeps_the_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kinds.KINDS, "args", kind_of(raises))
    (tmp_path / "a").write_text("1234567" * 9)
    smallest("args", tmp_path, "a", judged(KINDS["args"], tmp_path).fault)
    assert (tmp_path / "a").read_text() == "7"
