"""What a report says about a prune, as plain data: the content of report.json."""

from __future__ import annotations

import dataclasses
import math
import platform
import shlex
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ...command.files import sha256
from ...data.darknet_files import load_data_file
from ...detection.figures import ModelFigures
from ..goals.latency_goal import LatencyCheck
from ..options import PruneOptions
from ..plan import PrunePlan, block_score
from ..proof.gate import TOLERANCE
from ..recalibrate import Recalibration
from ..sweeps.curve import KNEE_RULE, Sweep
from .result import Pruned

FORMAT = 1
REMOVED_WITH_BLOCK = "removed with its block"


def make_record(pruned: Pruned, options: PruneOptions) -> dict[str, Any]:
    """Everything but the pictures, ready for JSON (which knows no NaN and no infinity: null)."""
    chooser, inputs = pruned.chooser, _inputs(options)
    record = {
        "format": FORMAT,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(options.typed.command),
        "seed": options.scoring.seed,
        "versions": versions(),
        "inputs": _hashed(inputs),
        "outputs": _hashed({"cfg": pruned.cfg_path, "weights": pruned.weights_path}),
        "options": {key: _plain(value) for key, value in sorted(options.told().items())},
        "threshold": pruned.plan.threshold if chooser.strategy.channels else None,
        "cost_of_form": pruned.plan.cost_of_form or None,
        "layers": layer_rows(pruned.plan),
        "removed_blocks": _block_rows(pruned),
        "metrics": {"before": _figures(pruned.before), "after": _figures(pruned.after)},
        "proof": {**dataclasses.asdict(pruned.proof), "tolerance": TOLERANCE},
        "recalibration": _recalibration(pruned.recalibration),
        "sweep": None if pruned.sweep is None else _sweep(pruned.sweep),
        "latency": None if pruned.latency is None else _latency(pruned.latency),
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


def _inputs(options: PruneOptions) -> dict[str, Path]:
    found = {"cfg": Path(options.inputs.cfg), "weights": Path(options.inputs.weights)}
    if options.scoring.data:
        found["data"] = Path(options.scoring.data)
        found["valid"] = load_data_file(options.scoring.data).require("valid")
    return found


def _hashed(paths: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    return {what: {"path": str(path), "sha256": sha256(path)} for what, path in paths.items()}


def _block_rows(pruned: Pruned) -> list[dict[str, Any]]:
    scores = pruned.chooser.block_scores
    return [
        {
            "shortcut": block.shortcut,
            "layers": [block.layers[0], block.layers[-1]],
            "activation_left": None if block.activation == "linear" else block.activation,
            "replaced_by": block.source,
            "score": block_score(pruned.plan, scores, block),
        }
        for block in pruned.plan.dropped
    ]


def _figures(figures: ModelFigures) -> dict[str, Any]:
    found = dataclasses.asdict(figures)
    return {**found, "latency": figures.latency and figures.latency._asdict()}


def _recalibration(found: Recalibration | None) -> dict[str, Any] | None:
    """The images, and the metrics of folding alone (those after it are "after")."""
    return None if found is None else {"images": found.images, "folded": _figures(found.folded)}


def _latency(found: LatencyCheck) -> dict[str, Any]:
    after = found.after and found.after._asdict()
    times = {"before": found.before._asdict(), "after": after}
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
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _finite(value: Any) -> Any:
    """The same with None for numbers that JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
