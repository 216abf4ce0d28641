"""A module that is put off loads once, whole, at its first use; other imports notice nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from utils.command.lazy import Postponed, postponed

# Tells, by the file `log`, each time that it is run; a thread that came in half way would see it.
SLOW = """
import pathlib, time
with pathlib.Path("log").open("a") as log:
    log.write(__name__ + "\\n")
early = 1
time.sleep(0.2)
late = 2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A package `slow` with a submodule, and a module `user` that puts it off."""
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "__init__.py").write_text(SLOW + "from . import inner\n")
    (tmp_path / "slow" / "inner.py").write_text(SLOW)
    (tmp_path / "log").write_text("")
    (tmp_path / "user.py").write_text(
        "from utils.command.lazy import postponed\n"
        "slow = postponed('slow')\n"
        "gone = postponed('no_such_package')\n"
        "def late(): return slow.late\n"
    )
    (tmp_path / "other.py").write_text("from user import slow\ndef late(): return slow.late\n")
    return tmp_path


def run(folder: Path, root: Path, code: str) -> list[str]:
    """Run code there; the modules that were run, in order."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(root)))}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return (folder / "log").read_text().split()


def test_nothing_loads_before_it_is_used(folder: Path, root: Path) -> None:
    code = "import sys, user, other\nassert 'slow' not in sys.modules"
    assert run(folder, root, code) == []


def test_the_module_itself_takes_the_place_at_the_first_use(folder: Path, root: Path) -> None:
    code = (
        "import sys, user, other\n"
        "assert user.late() == 2\n"
        "import slow\n"
        "assert user.slow is other.slow is slow is sys.modules['slow']\n"
        "assert other.late() == 2"
    )
    assert run(folder, root, code) == ["slow", "slow.inner"]


@pytest.mark.parametrize(
    "first", ["import slow", "import slow.inner", "from slow.inner import late", "other.late()"]
)
def test_every_first_use_runs_each_module_once(folder: Path, root: Path, first: str) -> None:
    """`import slow.inner` is where importlib's LazyLoader runs it twice."""
    code = f"import user, other\n{first}\nimport slow\nassert user.late() == 2 == slow.inner.late"
    assert run(folder, root, code) == ["slow", "slow.inner"]


def test_a_module_that_is_loaded_stays_as_it_is(folder: Path, root: Path) -> None:
    code = "import slow, user\nassert user.slow is slow"
    assert run(folder, root, code) == ["slow", "slow.inner"]


def test_threads_wait_until_it_is_whole(folder: Path, root: Path) -> None:
    code = (
        "import user, other\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "uses = [user.late, other.late] * 8\n"
        "with ThreadPoolExecutor(16) as pool:\n"
        "    assert list(pool.map(lambda use: use(), uses)) == [2] * 16"
    )
    assert run(folder, root, code) == ["slow", "slow.inner"]


def test_a_missing_module_is_an_import_error_at_its_use(folder: Path, root: Path) -> None:
    code = (
        "import user\n"
        "try:\n"
        "    user.gone.anything\n"
        "except ModuleNotFoundError as error:\n"
        "    assert error.name == 'no_such_package', error.name\n"
        "else:\n"
        "    raise SystemExit('no error')"
    )
    assert run(folder, root, code) == []


def test_an_attribute_that_is_not_there_is_the_modules_own_error() -> None:
    assert postponed("math") is __import__("math")
    with pytest.raises(AttributeError, match="module 'math' has no attribute 'no_such'"):
        print(Postponed("math").no_such)
