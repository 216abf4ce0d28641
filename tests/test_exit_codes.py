"""Every command: a user's mistake is one line on stderr and exit code 2; nothing is written."""

from __future__ import annotations

import logging
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

GONE = ["--cfg", "gone.cfg", "--weights", "gone.weights"]
MISTAKES = {
    "train.py": ["--cfg", "gone.cfg", "--data", "gone.data"],
    "val.py": [*GONE, "--data", "gone.data"],
    "prune.py": [*GONE, "--percent", "0.5"],
    "shortcut_prune.py": [*GONE, "--percent", "0.5"],
    "slim_prune.py": [*GONE, "--global-percent", "0.5"],
    "layer_prune.py": [*GONE, "--shortcuts", "1"],
    "layer_channel_prune.py": [*GONE, "--shortcuts", "1", "--global-percent", "0.5"],
    "mask_prune.py": GONE,
    "iterative_prune.py": [*GONE, "--data", "gone.data"],
    "compress.py": [*GONE, "--data", "gone.data", "--keep-params", "0.5"],
    "sensitivity.py": [*GONE, "--data", "gone.data"],
    "search.py": [*GONE, "--data", "gone.data", "--target-params", "0.5"],
    "sparsity.py": GONE,
    "latency_table.py": [*GONE, "--output", "new.json"],
    "report.py": ["--models", "gone.cfg,gone.weights", "b.cfg,b.weights"],
    "detect.py": [*GONE, "--source", "gone.jpg"],
    "export.py": GONE,
    "compare.py": ["--models", "gone.cfg,gone.weights", "--runtimes", "torch"],
    "translate.py": ["--weights", "gone.pt", "--output", "new.cfg"],
    "make_cfg.py": ["--cfg", "gone.cfg", "--data", "gone.data", "--output", "new.cfg"],
    "cfginfo.py": ["--cfg", "gone.cfg"],
    "data/convert.py": ["voc", "gone", "new"],
}


@pytest.fixture
def quiet_logging() -> Iterator[None]:
    """`run_main` sets up logging for good; a test puts it back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_every_script_is_here(root: Path) -> None:
    scripts = {path.name for path in root.glob("*.py")} - {"models.py", "demo.py"}
    assert scripts | {"data/convert.py"} == set(MISTAKES)


@pytest.mark.usefixtures("quiet_logging")
@pytest.mark.parametrize("script", MISTAKES)
def test_a_mistake_is_one_line_and_code_2(
    script: str,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, *MISTAKES[script]])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(root / script), run_name="__main__")
    said = capfd.readouterr()
    assert end.value.code == 2
    assert said.err.startswith("error: ")
    assert "gone" in said.err
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
