"""What a command line needs is light: mistakes are told before anything heavy is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "numpy", "cv2", "yaml", "tqdm", "matplotlib", "tensorboard")
LIGHT = (
    "cfg_recipe",
    "distillation.flags",
    "distillation.options",
    "flags",
    "hyp",
    "losses.options",
    "optimization.options",
    "optimization.schedule",
    "options",
    "run_folder",
    "sparse.flags",
    "sparse.options",
)


def heavy_ones_of(root: Path, module: str) -> str:
    """The heavy packages that a fresh interpreter has after importing a module of training."""
    code = f"import sys, utils.training.{module}\nprint(*(sys.modules.keys() & {set(HEAVY)}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_load_nothing_heavy(module: str, root: Path) -> None:
    assert heavy_ones_of(root, module) == ""


def test_a_heavy_one_is_seen(root: Path) -> None:
    assert "torch" in heavy_ones_of(root, "optimization.ema")
