"""darkslim against its peers, side by side: loading, training, scoring, detecting. See README.md.

    python -m benchmarks.peers.setup
    python -m benchmarks.peers.run
    python -m benchmarks.peers.run --only step-320-1 --turns 5 --base ../base

Each turn of a row runs every side in a process of its own, in another order each time; a ratio is
taken within a turn. What is done stands in WORK/turns.json, and a run that was cut off goes on from
there. Processor time counts what the threads of a process did, so that other work on the machine
disturbs it less than wall time; with more than one thread it does not say how well they shared.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.material import HERE, Material, prepare
from benchmarks.peers.setup import DEFAULT, python_of, versions
from utils.command.cli import Parser, positive_int, run_main
from utils.command.errors import UserError
from utils.command.progress import progress_bar
from utils.command.table import table

Turn = dict[str, dict[str, Any]]  # side -> what its process said


@dataclass(frozen=True)
class Row:
    """One comparison: what runs, and on what."""

    what: str
    threads: int
    img_size_px: int
    batch_size: int
    runs: int  # timed calls in each process

    def argv(self, work: Path) -> list[str]:
        """What both sides' scripts are told."""
        return [
            self.what, "--threads", str(self.threads), "--img-size", str(self.img_size_px),
            "--batch-size", str(self.batch_size), "--runs", str(self.runs), "--work", str(work),
        ]  # fmt: skip


ROWS: Mapping[str, Row] = {
    "loader-320": Row("loader", 1, 320, 16, 2),
    "step-320-1": Row("step", 1, 320, 16, 3),
    "step-320-2": Row("step", 2, 320, 16, 3),
    "step-640-1": Row("step", 1, 640, 4, 3),
    "step-640-2": Row("step", 2, 640, 4, 3),
    "epoch-320-1": Row("epoch", 1, 320, 16, 1),
    "epoch-320-2": Row("epoch", 2, 320, 16, 1),
    "val-320-1": Row("val", 1, 320, 16, 2),
    "val-320-2": Row("val", 2, 320, 16, 2),
    "detect-320-1": Row("detect", 1, 320, 1, 1),
    "detect-320-2": Row("detect", 2, 320, 1, 1),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = build_parser().parse_args(argv)
    peer = python_of(args.peers)
    told = versions(peer)
    work = args.work.resolve()
    prepare(Material(work, peer, args.data, args.scored or args.data, args.weights))
    sides = {"ours": HERE, "theirs": None}
    if args.base:
        sides = {"ours": HERE, "base": args.base.resolve(), "theirs": None}
    store = work / "turns.json"
    turns: dict[str, list[Turn]] = json.loads(store.read_text()) if store.is_file() else {}
    names = args.only or list(ROWS)
    due = [name for k in range(args.turns) for name in names if len(turns.get(name, ())) <= k]
    for name in progress_bar(due, "turns", "turn"):
        number = len(turns.setdefault(name, []))
        order = list(sides)[number % len(sides) :] + list(sides)[: number % len(sides)]
        turns[name].append({side: run_side(sides[side], peer, ROWS[name], work) for side in order})
        store.write_text(json.dumps(turns))
    report({name: turns[name] for name in names})
    print(f"{processor()}; python {platform.python_version()}; peers: {told}")
    print("threads that wait do so passively; load before the last line:", *os.getloadavg())


def build_parser() -> Parser:
    """The command's flags."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--peers", type=Path, default=DEFAULT, help="the peers' environment (setup makes it)")
    add("--work", type=Path, default=Path("runs/peers"), help="folder for data and what is done")
    add("--data", type=Path, help=".data file to train on; left out, pictures that are drawn")
    add("--scored", type=Path, help=".data file to score and detect on; left out, that of --data")
    add("--weights", type=Path, help="ultralytics checkpoint for --scored; left out, random ones")
    add("--base", type=Path, help="another checkout of darkslim, measured in the same turns")
    add("--only", nargs="+", choices=tuple(ROWS), help="these rows; left out, all")
    add("--turns", type=positive_int, default=3, help="turns of each row, earlier ones included")
    return parser


def run_side(folder: Path | None, peer: Path, row: Row, work: Path) -> dict[str, Any]:
    """What a side's process says of a row. Raises UserError where it fails."""
    # Threads that wait for each other by spinning would count as busy.
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "YOLO_OFFLINE": "true"}
    if folder is None:
        command = [str(peer), str(HERE / "benchmarks/peers/theirs.py")]
        environment["YOLO_CONFIG_DIR"] = str(work)
    else:
        # `benchmarks` has no __init__: a base without this folder finds it here.
        command = [sys.executable, "-m", "benchmarks.peers.ours"]
        environment["PYTHONPATH"] = str(HERE)
        environment["XDG_CACHE_HOME"] = str(work)  # what is found to be faster is found anew
    done = subprocess.run(
        [*command, *row.argv(work)],
        capture_output=True, text=True, check=False, env=environment, cwd=folder or work,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise UserError(f"{' '.join([*command, *row.argv(work)])}: {last}")
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return said


def ratios(turns: Sequence[Turn], side: str, clock: str, key: str = "seconds") -> list[float]:
    """A side's time over the peer's, turn by turn; of several calls the median."""

    def spent(said: Mapping[str, Any]) -> float:
        return float(statistics.median(call[clock] for call in said[key]))

    return [spent(turn[side]) / spent(turn["theirs"]) for turn in turns]


def report(rows: Mapping[str, Sequence[Turn]]) -> None:
    """One line a row: ratios by processor time and by wall time, with their range."""
    lines: list[tuple[str, ...]] = [
        ("row", "side", "turns", "processor time", "wall time", "peer's s (processor)")
    ]
    for name, turns in rows.items():
        keys = {"": "seconds", ", later epochs": "later"}
        for more, key in keys.items():
            if key not in turns[0]["theirs"]:
                continue
            theirs = [statistics.median(c["cpu"] for c in turn["theirs"][key]) for turn in turns]
            for side in ("ours", "base"):
                both = [turn for turn in turns if side in turn]
                if both:
                    told = [spread(ratios(both, side, clock, key)) for clock in ("cpu", "wall")]
                    peer = f"{statistics.median(theirs):.2f}"
                    lines.append((name + more, side, str(len(both)), *told, peer))
    print(table(lines))
    for name, turns in rows.items():
        scores = {side: said.get("map50") for side, said in turns[-1].items() if "map50" in said}
        if scores:
            print(
                name, "mAP@.5:", ", ".join(f"{side} {value:.4f}" for side, value in scores.items())
            )


def spread(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}..{max(values):.2f})"


def processor() -> str:
    """The processor's name and what it computes with."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    found = {key.strip(): value.strip() for key, value in told.items()}
    flags = set(found.get("flags", "").split())
    wide = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    name = found.get("model name", platform.machine())
    family = f"family {found.get('cpu family', '?')} model {found.get('model', '?')}"
    return f"{name} ({family}), {os.cpu_count()} cores, {' '.join(wide) or 'no wide units known'}"


if __name__ == "__main__":
    run_main(main)
