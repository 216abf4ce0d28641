"""The tests find faults: see tests/support/mutations.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.mutations import FAULTS, Fault, found, places, verdict_table, verdicts


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_has_its_place(fault: Fault, root: Path) -> None:
    """Code that moves takes its fault along: else the check below would check nothing."""
    assert places(fault) == 1
    assert fault.right != fault.wrong
    assert all((root / test).is_file() for test in fault.tests)


def test_a_fault_without_a_place_is_an_error(tmp_path: Path) -> None:
    fault = replace(FAULTS[0], file="a.py", right="x")
    for source in ("", "x = x\n"):
        (tmp_path / "a.py").write_text(source)
        with pytest.raises(ValueError, match=r"a\.py"):
            found(fault, tmp_path)
    (tmp_path / "a.py").unlink()
    with pytest.raises(ValueError, match="0 times"):
        found(fault, tmp_path)


@pytest.mark.slow
def test_all_faults_are_found_and_none_without_one(capsys: pytest.CaptureFixture[str]) -> None:
    sound, by_name = verdicts()
    with capsys.disabled():
        print(f"\n{verdict_table(sound, by_name)}")
    assert sound
    assert [name for name, seen in by_name.items() if not seen] == []
