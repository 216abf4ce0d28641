"""What a user does with a checkpoint here, by the same commands: train, prune, give back."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

from utils.command.errors import UserError

from .subject import ROOT, Subject

_SIDE_PX, _IMAGES, _EPOCHS = 128, 16, 2
_SECONDS = 1800


def train(subject: Subject) -> str:
    """Its loss in the first and the last of a few short epochs on drawn pictures."""
    folder = subject.settings.folder
    data = folder / "shapes" / "shapes.data"
    if not data.is_file():
        size = ["--images", str(_IMAGES), "--img-size", str(_SIDE_PX)]
        _run("data/shapes.py", "--output", str(data.parent), *size)
    cfg = _cfg_of(subject, "--data", str(data), "--img-size", str(_SIDE_PX))
    _run(
        "train.py", "--cfg", str(cfg), "--weights", str(cfg.with_suffix(".weights")),
        "--data", str(data), "--img-size", str(_SIDE_PX), "--epochs", str(_EPOCHS),
        "--batch-size", "4", "--lr0", "0.001", "--workers", "0", "--noplots", "--exist-ok",
        "--project", str(folder / "runs"), "--name", cfg.stem,
    )  # fmt: skip
    with (folder / "runs" / cfg.stem / "results.csv").open(encoding="utf-8") as file:
        rows = [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(file)]
    first, last = (float(row["loss/total"]) for row in (rows[0], rows[-1]))
    return f"loss {first:.2f} to {last:.2f}"


def prune(subject: Subject) -> str:
    """The gate's difference, and what is left of the parameters."""
    return _pruned(subject, [])[0]


def back_whole(subject: Subject) -> str:
    """The largest difference of the outputs of the library's own network, filled with ours."""
    if not subject.settings.python:
        return ""
    return _back(subject, _cfg_of(subject), "whole")


def back_pruned(subject: Subject) -> str:
    """Likewise, pruned so that it fits."""
    if not subject.settings.python:
        return ""
    said, cfg = _pruned(subject, ["--form", "ultralytics"])
    return f"{_back(subject, cfg, 'pruned')} ({said.partition(', ')[2]})"


def _cfg_of(subject: Subject, *flags: str) -> Path:
    """As translate.py writes it for training and pruning."""
    stem = f"{subject.name.replace(' ', '-')}{'-data' if flags else ''}"
    cfg = subject.settings.folder / "translated" / f"{stem}.cfg"
    if not cfg.with_suffix(".weights").is_file():
        cfg.parent.mkdir(exist_ok=True)
        size = [] if flags else ["--img-size", *map(str, subject.size)]
        _run(
            "translate.py", "--weights", str(subject.checkpoint), "--output", str(cfg),
            "--bn-export", "native", "--head", subject.answer, "--force", *size, *flags,
        )  # fmt: skip
    return cfg


def _pruned(subject: Subject, flags: list[str]) -> tuple[str, Path]:
    """What it came to, in words, and its cfg."""
    cfg = _cfg_of(subject)
    said = _run(
        "slim_prune.py", "--cfg", str(cfg), "--weights", str(cfg.with_suffix(".weights")),
        "--global-percent", "0.4", "--layer-keep", "0.1", "--force", *flags,
    )  # fmt: skip
    proof = re.search(r"Gate passed: .* to (\S+) of their maximum", said)
    counts = re.search(r"Parameters\W+([\d,]+)\W+([\d,]+)", said)
    if proof is None or counts is None:
        raise UserError(f"{cfg}: the prune's words are not understood: {said[-300:]!r}")
    before, after = (int(count.replace(",", "")) for count in counts.groups())
    path = next(iter(sorted(cfg.parent.glob(f"prune_0.4_*{cfg.stem}.cfg"))))
    return f"{proof[1]}, {after / before:.0%}", path


def _back(subject: Subject, cfg: Path, name: str) -> str:
    stem = subject.settings.folder / f"{subject.name.replace(' ', '-')}-{name}"
    said = _run(
        "export.py", "--cfg", str(cfg), "--weights", str(cfg.with_suffix(".weights")),
        "--format", "ultralytics", "--ultralytics-python", subject.settings.python,
        "--output", str(stem), "--force",
    )  # fmt: skip
    found = re.search(r"(\d\S*e-\d+)", said)
    return found[1] if found else "written"


def _run(script: str, *words: str) -> str:
    """What the command says. Raises UserError with its last line where it fails."""
    command = [sys.executable, str(ROOT / script), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise UserError(lines[-1] if lines else f"{script} ends with {done.returncode}")
    return done.stdout + done.stderr
