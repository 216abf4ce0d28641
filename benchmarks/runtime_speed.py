"""Each runtime on five networks: beside ONNX Runtime, and what a prune gains there.

    python -m benchmarks.runtime_speed --output runs/runtime_speed
    python -m benchmarks.runtime_speed --output runs/runtime_speed --runtimes openvino mnn-int8

Random weights, as times do not depend on them; half of the MACs pruned by gammas with --for the
runtime. A network and a runtime have a process of their own, in which the network in ONNX Runtime
in float32, in the runtime, and pruned in the runtime are timed in turns, one image at a time:
processor time, one thread. "of the promise" is how much faster the pruned network is, over how many
times fewer MACs it has. Rows go to runtime_speed.csv in --output one by one; those that are there
are not done again, and runtimes that are not installed are left out, so that other environments add
theirs. What does not run is a row with the reason. At the end all rows are printed.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path

import torch

from benchmarks.long_runs import ROOT, run_command
from models import Darknet
from utils.command.cli import Parser, positive_int, run_main
from utils.command.machine.timing import time_alternately_ms
from utils.command.optional import missing
from utils.command.table import table
from utils.detection.options import Inputs
from utils.network.cfg_of import read_cfg
from utils.network.cost import count_macs
from utils.runtimes.needs import needs_of, of_any_bits
from utils.runtimes.options import RUNTIMES
from utils.runtimes.passes import pass_of

NETWORKS = ("yolov3-tiny", "yolov4-tiny", "yolov4", "yolov8n", "yolo11n")
REFERENCE = "onnx"
LEFT_MACS = 0.5


@dataclass(frozen=True)
class Row:
    """What one process found; milliseconds are medians of processor time."""

    network: str
    runtime: str
    reference_ms: float = 0.0
    dense_ms: float = 0.0
    pruned_ms: float = 0.0
    macs_ratio: float = 0.0  # dense over pruned
    why_not: str = ""

    @property
    def of_the_promise(self) -> float:
        """How much faster the pruned network is, over how much less it computes."""
        return self.dense_ms / self.pruned_ms / self.macs_ratio


def dense_files(folder: Path, network: str, side_px: int) -> Inputs:
    """A cfg with random weights, whose gammas differ."""
    cfg, weights = ROOT / "cfg" / f"{network}.cfg", folder / f"{network}.weights"
    if not cfg.is_file():
        cfg = folder / f"{network}.cfg"
    if not cfg.is_file():
        names, data = folder / "coco.names", folder / "coco.data"
        names.write_text("".join(f"class{number}\n" for number in range(80)))
        data.write_text(f"classes=80\nnames={names}\n")
        run_command(f"make_cfg.py --cfg {network} --data {data} --output {cfg}")
    if not weights.is_file():
        torch.manual_seed(0)
        model = Darknet(read_cfg(cfg))
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
        model.save_weights(weights)
    return Inputs(str(cfg), str(weights), (side_px, side_px))


def pruned_files(folder: Path, dense: Inputs, runtime: str) -> Inputs:
    """Half of its MACs, in the widths that the runtime is fast at."""
    target = of_any_bits(runtime)
    name = f"{Path(dense.cfg).stem}-for-{target}"
    cfg = folder / name / f"{name}.cfg"
    if not cfg.is_file():
        where = f"--project {folder} --name {name}"
        how = f"--target-macs {LEFT_MACS} --at-most --for {target} {where}"
        run_command(f"slim_prune.py --cfg {dense.cfg} --weights {dense.weights} {how}")
    return replace(dense, cfg=str(cfg), weights=str(cfg.with_suffix(".weights")))


def measured(folder: Path, network: str, runtime: str, side_px: int, runs: int) -> Row:
    """Time a network in a runtime, in this process."""
    dense = dense_files(folder, network, side_px)
    pruned = pruned_files(folder, dense, runtime)
    macs = [count_macs(Darknet(read_cfg(i.cfg), i.img_size).rules) for i in (dense, pruned)]
    asked = ((REFERENCE, dense), (runtime, dense), (runtime, pruned))
    calls = [pass_of(kind, files, Darknet, threads=1) for kind, files in asked]
    found = time_alternately_ms(calls, runs, 3, float("inf"), time.process_time)
    reference, as_it_is, cut = (round(each.median_ms, 3) for each in found)
    return Row(network, runtime, reference, as_it_is, cut, round(macs[0] / macs[1], 3))


def in_its_own(words: Sequence[str], network: str, runtime: str) -> Row:
    """`measured` in a fresh process; what it said last where it failed."""
    argv = ["-m", "benchmarks.runtime_speed", *words, "--one", network, runtime]
    done = subprocess.run(
        [sys.executable, *argv], cwd=ROOT, check=False, capture_output=True, text=True
    )
    last = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-1:]
    if done.returncode:
        why = last[0] if last else f"ended with code {done.returncode}"
        return Row(network, runtime, why_not=why.removeprefix("error: "))
    return Row(**json.loads(last[0]))


def read_rows(file: Path) -> list[Row]:
    """The rows that are there."""
    if not file.is_file():
        return []
    with file.open(newline="") as rows:
        return [
            Row(*(kind(row[f.name]) for f, kind in zip(fields(Row), _KINDS, strict=True)))
            for row in csv.DictReader(rows)
        ]


_KINDS = (str, str, float, float, float, float, str)


def add(file: Path, row: Row) -> None:
    """Append a row."""
    fresh = not file.is_file()
    with file.open("a", newline="") as out:
        writer = csv.DictWriter(out, [f.name for f in fields(Row)])
        if fresh:
            writer.writeheader()
        writer.writerow(asdict(row))


def summary(rows: Sequence[Row]) -> str:
    """The table, and what did not run."""
    lines = [["network", "runtime", "dense, ms", "of ONNX Runtime", "pruned, ms", "of the promise"]]
    for row in rows:
        if not row.why_not:
            share = row.dense_ms / row.reference_ms
            lines.append([
                row.network, row.runtime, f"{row.dense_ms:.1f}", f"{share:.2f}",
                f"{row.pruned_ms:.1f}", f"{row.of_the_promise:.2f}",
            ])  # fmt: skip
    left = [f"{row.network} in {row.runtime}: {row.why_not}" for row in rows if row.why_not]
    return "\n".join([table(lines, right=(2, 3, 4, 5)), *left])


def main(argv: Sequence[str] | None = None) -> None:
    """Do what is left, and print everything."""
    given = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/runtime_speed"))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    kinds = [each for each in RUNTIMES if each != "torch"]
    parser.add_argument("--runtimes", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--img-size", type=positive_int, default=320)
    parser.add_argument("--runs", type=positive_int, default=20, help="counted passes of each")
    parser.add_argument("--one", nargs=2, help="a network and a runtime: time it, print JSON")
    args = parser.parse_args(argv)
    folder = args.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if args.one:
        network, runtime = args.one
        print(json.dumps(asdict(measured(folder, network, runtime, args.img_size, args.runs))))
        return
    file = folder / "runtime_speed.csv"
    here = [each for each in args.runtimes if not missing(needs_of(each))]
    for network, runtime in product(args.networks, here):
        if (network, runtime) not in {(row.network, row.runtime) for row in read_rows(file)}:
            add(file, in_its_own(given, network, runtime))
    print(summary(read_rows(file)))


if __name__ == "__main__":
    run_main(main)
