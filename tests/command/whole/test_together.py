"""Files that belong together change together, whatever stops the command in between."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from utils.command.errors import UserError
from utils.command.files import all_or_none, require_settled, settle
from utils.command.whole.together import note_path

NAMES = ("a.cfg", "w/b.weights", "c.json")


@pytest.fixture
def targets(tmp_path: Path) -> tuple[Path, ...]:
    (tmp_path / "w").mkdir()
    return tuple(tmp_path / name for name in NAMES)


def write(targets: tuple[Path, ...], text: str) -> None:
    with all_or_none(*targets) as fresh:
        for path in fresh:
            path.write_text(text)


def content(targets: tuple[Path, ...]) -> set[str]:
    return {path.read_text() if path.exists() else "" for path in targets}


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def killed_at(rename: int, what: Callable[[], None]) -> bool:
    """Run `what` in a child that ends at its n-th rename; whether it came so far."""
    child = os.fork()
    if not child:
        left, real = [rename], Path.replace

        def replace(self: Path, target: Path) -> Path:
            left[0] -= 1
            if left[0] == 0:
                os._exit(9)
            return real(self, target)

        Path.replace = replace  # type: ignore[method-assign]
        what()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_all_appear(targets: tuple[Path, ...], tmp_path: Path) -> None:
    write(targets, "new")
    assert content(targets) == {"new"}
    assert everything(tmp_path) == set(NAMES)


@pytest.mark.parametrize("before", ["", "old"])
def test_a_failing_block_changes_nothing(
    targets: tuple[Path, ...], tmp_path: Path, before: str
) -> None:
    if before:
        write(targets, before)
    with pytest.raises(RuntimeError), all_or_none(*targets) as fresh:
        fresh[0].write_text("new")
        raise RuntimeError
    assert content(targets) == {before}
    assert everything(tmp_path) == (set(NAMES) if before else set())


@pytest.mark.parametrize("before", ["", "old"])
def test_a_rename_that_fails_takes_all_back(
    targets: tuple[Path, ...], tmp_path: Path, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before:
        write(targets, before)
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target == targets[2] and not str(self).endswith(".old"):
            raise PermissionError(13, "Permission denied")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(UserError, match=r"a\.cfg: cannot be written \(Permission denied\)"):
        write(targets, "new")
    assert content(targets) == {before}
    assert everything(tmp_path) == (set(NAMES) if before else set())


@pytest.mark.parametrize("rename", [1, 2, 3, 4])
@pytest.mark.parametrize("before", ["", "old"])
def test_a_kill_between_renames_is_finished_by_the_next_run(
    targets: tuple[Path, ...],
    tmp_path: Path,
    before: str,
    rename: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Rename 1 is that of the note: before it, everything is as it was."""
    if before:
        write(targets, before)
    assert killed_at(rename, lambda: write(targets, "new"))
    begun = rename > 1
    assert note_path(targets[0]).exists() is begun
    if begun:
        with pytest.raises(UserError, match="was stopped while it replaced this file"):
            require_settled(targets[0])
    settle(*targets)
    assert content(targets) == {"new" if begun else before}
    assert ("was stopped while it put a.cfg, b.weights, c.json in place" in caplog.text) is begun
    require_settled(targets[0])
    write(targets, "newer")
    assert content(targets) == {"newer"}
    left = everything(tmp_path) - set(NAMES)
    assert all(name.startswith(".darkslim-") and ".set" not in name for name in left)


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"moves": 1}', '{"moves": [["../x", "../y"]]}', '{"moves": [["other", "a.cfg"]]}'],
)
def test_a_note_of_others_moves_nothing(
    targets: tuple[Path, ...], tmp_path: Path, text: str
) -> None:
    note_path(targets[0]).write_text(text)
    (tmp_path / "other").write_text("mine")
    with pytest.raises(UserError, match="other outputs"):
        settle(targets[0])
    assert (tmp_path / "other").read_text() == "mine"
    assert not targets[0].exists()
