"""A command's first words come at once: nothing heavy is loaded before there is work to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.startup import COMMANDS, first_words, write_inputs

HEAVY = ("torch", "cv2", "numpy", "matplotlib", "tensorboard")
MOST_MODULES = 60  # of ours, for `import prune`

# Commands that are not light yet, and "import prune" for the number of its modules.
NOT_YET: tuple[str, ...] = ()

# Scripts that start a module in a process of its own.
MODULES = {"data/convert.py": "utils.annotations", "data/shapes.py": "utils.pictures.drawn_set"}

# Runs a script again and again as if it was started, and tells after each time how it ended and
# which of some modules are there. What was loaded stays, so the first case with any is to blame.
WATCH = """
import contextlib, io, json, runpy, sys
start, cases, heavy = json.loads(sys.argv[1])
told = {}
for name, argv in cases.items():
    sys.argv = [start, *argv]
    run = runpy.run_path if start.endswith(".py") else runpy.run_module
    code = None
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            run(start, run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
    told[name] = [code, [name for name in heavy if name in sys.modules]]
print(json.dumps(told))
"""


def watched(start: str, cases: dict[str, tuple[str, ...]], folder: Path, root: Path) -> object:
    """By case: the exit code, and which of HEAVY were loaded. `start`: a script or a module."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", WATCH, json.dumps([start, cases, HEAVY])]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("script", COMMANDS)
def test_first_words_need_nothing_heavy(script: str, root: Path, tmp_path: Path) -> None:
    """The help, an unknown flag, a file that is not there, a cfg with a mistake in its syntax."""
    if script in NOT_YET:
        pytest.skip("not yet")
    write_inputs(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    cases = list(first_words(script))
    start = MODULES.get(script, str(root / script))
    found = watched(start, {case.name: case.argv for case in cases}, tmp_path, root)
    assert found == {case.name: [case.code, []] for case in cases}
    assert {path.name for path in tmp_path.iterdir()} == before


def test_what_is_heavy_is_noticed(root: Path, tmp_path: Path) -> None:
    """Negative control, for a script of one of our own modules and for a case that comes later."""
    script = tmp_path / "heavy.py"
    script.write_text("import sys\nif sys.argv[1:]:\n    from utils.data import letterbox\n")
    found = watched(str(script), {"a": (), "b": ("--x",)}, tmp_path, root)
    assert found == {"a": [None, []], "b": [None, ["torch", "cv2", "numpy"]]}


def test_every_command_is_watched(root: Path) -> None:
    scripts = {path.name for path in root.glob("*.py")} - {"models.py"}
    scripts |= {f"data/{path.name}" for path in (root / "data").glob("*.py")}
    assert set(COMMANDS) == scripts
    for script in COMMANDS:
        assert [case.name for case in first_words(script)][:2] == ["--help", "unknown flag"]


def test_importing_a_script_loads_few_modules(root: Path) -> None:
    """Whoever wants a script's STRATEGY does not wait for all of utils."""
    if "import prune" in NOT_YET:
        pytest.skip("not yet")
    code = "import sys, prune; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ours = [name for name in done.stdout.split() if name.split(".")[0] in ("utils", "models")]
    assert 0 < len(ours) < MOST_MODULES, ours
