"""Commands of this repository that take hours: each is done once, or gone on with."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

from models import Darknet
from utils.chains.journal import is_finished
from utils.command.errors import UserError
from utils.detection.figures import ModelFigures, figures
from utils.detection.options import Scoring
from utils.network.cfg_of import read_cfg

ROOT = Path(__file__).resolve().parent.parent


def run_command(words: str, python: str = sys.executable) -> float:
    """Run a command from the repository's root; its minutes. Raises UserError where it fails."""
    print(f"$ python {words}", flush=True)
    began = time.monotonic()
    done = subprocess.run([python, *shlex.split(words)], cwd=ROOT, check=False)
    if done.returncode:
        raise UserError(f"python {words}: ended with code {done.returncode}")
    return (time.monotonic() - began) / 60


def trained(folder: Path, words: str) -> tuple[Path, float]:
    """The last.pt of train.py with flags, in a folder of its own; minutes of this call."""
    last = folder / "last.pt"
    if last.is_file() and is_finished(last):
        return last, 0.0
    if last.is_file():
        return last, run_command(f"train.py --resume {folder}")
    where = f"--project {folder.parent} --name {folder.name} --exist-ok"
    return last, run_command(f"train.py {words} --notest --noplots {where}")


def compressed(folder: Path, words: str) -> tuple[Path, float]:
    """The weights of compress.py with flags, in a folder of its own; minutes of this call."""
    begun = (folder / "state.json").is_file()
    what = f"--resume {folder}" if begun else f"{words} --output {folder}"
    return folder / f"{folder.name}.weights", run_command(f"compress.py {what}")


def scored(weights: Path, data: Path) -> ModelFigures:
    """Size and scores of a network, with its cfg beside it or in it, on a validation list."""
    cfg = weights.with_suffix(".cfg") if weights.suffix == ".weights" else weights
    return figures(Darknet(read_cfg(cfg), weights=weights), Scoring(str(data), workers=0), False)
