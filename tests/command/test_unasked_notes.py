"""What a library would note of the machine, or tell its makers, if it were loaded as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from utils.command.optional import missing


@pytest.mark.skipif(bool(missing(("onnxruntime",))), reason="needs onnxruntime")
def test_onnx_runtime_leaves_nothing_in_the_home(tmp_path: Path, root: Path) -> None:
    # It keeps quiet where CI is set, so that no test there would see it.
    kept = {key: value for key, value in os.environ.items() if key not in ("CI", "GITHUB_ACTIONS")}
    environment = {**kept, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    code = "from utils.command.optional import load; load('onnxruntime')"
    subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, check=True)
    assert [path.name for path in tmp_path.rglob("*")] == []
