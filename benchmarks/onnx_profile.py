"""Where ONNX Runtime's time goes, by its own profiler: a network beside its pruned self.

    python -m benchmarks.onnx_profile dense.onnx pruned.onnx

Milliseconds of a pass in each kind of node, summed over the nodes: one image, one thread, the
median of --runs passes. The files are taken in turns.
"""

from __future__ import annotations

import importlib
import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils.command.cli import Parser, positive_int, run_main
from utils.command.table import table

WARMUP = 3


def opened(path: str, folder: str) -> Any:
    """A session of one thread that notes what each node takes."""
    ort = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    options.profile_file_prefix = str(Path(folder) / Path(path).stem)
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def by_kind_ms(profile: str) -> dict[str, float]:
    """Kind of node -> the median over passes of its milliseconds in one; what warmed up is left."""
    passes: list[dict[str, float]] = []
    spent: dict[str, float] = defaultdict(float)
    for event in json.loads(Path(profile).read_text()):
        if event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"] / 1e3
        elif event["name"] == "model_run":  # comes behind its nodes
            passes.append(spent)
            spent = defaultdict(float)
    counted = passes[WARMUP:]
    kinds = {kind for each in counted for kind in each}
    return {kind: statistics.median(each[kind] for each in counted) for kind in kinds}


def profiles(paths: Sequence[str], runs: int) -> list[dict[str, float]]:
    """`by_kind_ms` of each file, which are run in turns."""
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        sessions = [opened(path, folder) for path in paths]
        given = []
        for session in sessions:
            (entry,) = session.get_inputs()
            given.append({entry.name: draw.random(entry.shape, np.float32)})
        for _ in range(WARMUP + runs):
            for session, values in zip(sessions, given, strict=True):
                session.run(None, values)
        return [by_kind_ms(session.end_profiling()) for session in sessions]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = Parser(__doc__)
    parser.add_argument("dense", help="an .onnx file with one input of a fixed size")
    parser.add_argument("pruned", help="another")
    parser.add_argument("--runs", type=positive_int, default=20, help="counted passes")
    args = parser.parse_args(argv)
    dense, pruned = profiles([args.dense, args.pruned], args.runs)
    lines = [["node", "dense, ms", "pruned, ms", "dense / pruned"]]
    for kind in sorted(dense, key=lambda kind: -dense[kind]):
        less = pruned.get(kind, 0.0)
        ratio = f"{dense[kind] / less:.2f}" if less else "-"
        lines.append([kind, f"{dense[kind]:.2f}", f"{less:.2f}", ratio])
    whole = sum(dense.values()), sum(pruned.values())
    lines.append(["all", f"{whole[0]:.2f}", f"{whole[1]:.2f}", f"{whole[0] / whole[1]:.2f}"])
    print(table(lines, right=(1, 2, 3)))


if __name__ == "__main__":
    run_main(main)
