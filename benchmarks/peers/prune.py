"""A prune with proof against Torch-Pruning's without: processor seconds and peak memory, in turns.

    python -m benchmarks.peers.prune --peer ../peer/bin/python --weights-folder random

The peer traces twice: an input as small as the strides allow, and one of the network's own size.
--peer: Python of an environment with torch and torch-pruning. Rounds that a file of rows holds
already are not measured again. Random weights are made once, in the folder named.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.prune import write_random
from utils.command.cli import Parser, positive_int, run_main
from utils.command.table import table

INPUTS = {"theirs": "smallest", "theirs-whole": "the cfg's"}  # side -> what is traced
NETWORKS = ("yolov3-tiny", "yolov8n", "yolov4", "yolov8x")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = Parser(__doc__)
    parser.add_argument("--peer", required=True, metavar="PYTHON", help="the peer's Python")
    parser.add_argument("--weights-folder", required=True, metavar="FOLDER", help="and the rows")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rounds", type=positive_int, default=5, help="of both sides, in turns")
    args = parser.parse_args(argv)
    folder = Path(args.weights_folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [["network", "the peer's input", "ours, s", "time", "peak memory"]]
    for name in args.only:
        weights, kept = folder / f"{name}.weights", folder / f"{name}.json"
        if not weights.is_file():
            write_random(f"cfg/{name}.cfg", weights)
        rounds = json.loads(kept.read_text()) if kept.is_file() else []
        while len(rounds) < args.rounds:
            sides = {"ours": sys.executable, **dict.fromkeys(INPUTS, args.peer)}
            rounds.append({side: once(run, side, name, weights) for side, run in sides.items()})
            kept.write_text(json.dumps(rounds))
        ours_s = [each["ours"]["cpu_s"] for each in rounds]
        for side, which in INPUTS.items():
            ratios = [ratio(rounds, side, key) for key in ("cpu_s", "peak_mb")]
            rows.append([name, which, f"{min(ours_s):.2f}..{max(ours_s):.2f}", *ratios])
    print(platform.processor() or platform.machine())
    print("ours over theirs: median and range of the rounds")
    print(table(rows))


def once(python: str, side: str, name: str, weights: Path) -> dict[str, float]:
    """One prune in a process of its own."""
    module = ["-m", "benchmarks.peers.prune_once", side]
    command = [python, *module, "--cfg", f"cfg/{name}.cfg", "--weights", str(weights)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def ratio(rounds: Sequence[dict[str, dict[str, float]]], side: str, key: str) -> str:
    """Ours over a side of the peer's: the median within rounds, and the range."""
    found = [each["ours"][key] / each[side][key] for each in rounds]
    return f"{statistics.median(found):.2f} ({min(found):.2f}..{max(found):.2f})"


if __name__ == "__main__":
    run_main(main)
