"""What a report says about a prune, as plain data: the content of report.json."""

from __future__ import annotations

import argparse
import dataclasses
import math
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ...command.files import sha256
from ...data.darknet_files import load_data_file
from ...detection.figures import ModelFigures
from ..command.decide import Chooser
from ..command.recalibrate import Recalibration
from ..gate import TOLERANCE, Proof
from ..goals.latency_goal import LatencyCheck
from ..plan import PrunePlan, block_score
from ..sweeps.curve import KNEE_RULE, Sweep

FORMAT = 1
REMOVED_WITH_BLOCK = "removed with its block"


@dataclass(frozen=True)
class Case:
    """One finished prune, with what led to it; `outputs` are the new cfg and weights."""

    args: argparse.Namespace
    command: Sequence[str]
    chooser: Chooser
    plan: PrunePlan
    proof: Proof
    before: ModelFigures
    after: ModelFigures
    outputs: tuple[Path, Path]
    sweep: Sweep | None = None
    recalibration: Recalibration | None = None
    latency: LatencyCheck | None = None


def make_record(case: Case) -> dict[str, Any]:
    """Everything but the pictures, ready for JSON (which knows no NaN and no infinity: null)."""
    record = {
        "format": FORMAT,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(case.command),
        "seed": getattr(case.args, "seed", None),
        "versions": versions(),
        "inputs": _hashed(_inputs(case.args)),
        "outputs": _hashed(dict(zip(("cfg", "weights"), case.outputs, strict=True))),
        "options": {key: _plain(value) for key, value in sorted(vars(case.args).items())},
        "threshold": case.plan.threshold if case.chooser.strategy.channels else None,
        "layers": layer_rows(case.plan),
        "removed_blocks": _block_rows(case),
        "metrics": {"before": _figures(case.before), "after": _figures(case.after)},
        "proof": {**dataclasses.asdict(case.proof), "tolerance": TOLERANCE},
        "recalibration": _recalibration(case.recalibration),
        "sweep": None if case.sweep is None else _sweep(case.sweep),
        "latency": None if case.latency is None else _latency(case.latency),
    }
    return {key: _finite(value) for key, value in record.items()}


def versions() -> dict[str, str]:
    """Of everything whose version can change a number."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "platform": platform.platform(),
    }


def layer_rows(plan: PrunePlan) -> list[dict[str, Any]]:
    """Channels of every layer with channels of its own, and why it keeps what could not go."""
    rows = []
    for index, classes in sorted(plan.graph.issued.items()):
        gone = index in plan.stand_in
        reason = REMOVED_WITH_BLOCK if gone else plan.candidates.reasons.get(index, "")
        rows.append(
            {
                "layer": index,
                "kind": plan.graph.layers[index].kind,
                "before": len(classes),
                "after": 0 if gone else int(plan.keep[classes].sum()),
                "reason": reason,
            }
        )
    return rows


def command_line(argv: Sequence[str] | None) -> tuple[str, ...]:
    """The command as a user would type it; `argv` None: that of this process."""
    given = sys.argv[1:] if argv is None else argv
    return ("python", Path(sys.argv[0]).name, *given)


def _inputs(args: argparse.Namespace) -> dict[str, Path]:
    found = {"cfg": Path(args.cfg), "weights": Path(args.weights)}
    if args.data:
        found["data"] = Path(args.data)
        found["valid"] = load_data_file(args.data).require("valid")
    return found


def _hashed(paths: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    return {what: {"path": str(path), "sha256": sha256(path)} for what, path in paths.items()}


def _block_rows(case: Case) -> list[dict[str, Any]]:
    scores = case.chooser.block_scores
    return [
        {
            "shortcut": block.shortcut,
            "layers": [block.layers[0], block.layers[-1]],
            "activation_left": None if block.activation == "linear" else block.activation,
            "replaced_by": block.source,
            "score": block_score(case.plan, scores, block),
        }
        for block in case.plan.dropped
    ]


def _figures(figures: ModelFigures) -> dict[str, Any]:
    found = dataclasses.asdict(figures)
    return {**found, "latency": figures.latency and figures.latency._asdict()}


def _recalibration(found: Recalibration | None) -> dict[str, Any] | None:
    """The images, and the metrics of folding alone (those after it are "after")."""
    return None if found is None else {"images": found.images, "folded": _figures(found.folded)}


def _latency(found: LatencyCheck) -> dict[str, Any]:
    times = {"before": found.before._asdict(), "after": found.after._asdict()}
    return {**dataclasses.asdict(found), **times}


def _sweep(sweep: Sweep) -> dict[str, Any]:
    knee = sweep.knee
    return {
        "unit": sweep.unit,
        "points": [dataclasses.asdict(point) for point in sweep.points],
        "knee": None if knee is None else knee.value,
        "knee_rule": KNEE_RULE,
        "max_map_drop": sweep.max_map_drop,
        "chosen": sweep.chosen,
    }


def _plain(value: Any) -> Any:
    """An option's value as JSON has it; what is none of its types, as text."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _finite(value: Any) -> Any:
    """The same with None for numbers that JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
