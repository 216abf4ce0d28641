"""train.py against ultralytics' trainer, from random weights, and what is left after a prune.

    python -m benchmarks.trainers --datasets ../shared/datasets --peer-python PEER/bin/python
    python -m benchmarks.trainers ... --networks yolo11n --data bccd --seeds 0 1 2

Rows: ours (make_cfg.py and the command that it prints), peer (benchmarks/peers/own_training.py),
both at 320 px, batch 16, as many epochs, each with its own defaults; pruned (compress.py of ours to
30% of the parameters, with as many epochs again). Scores are the last epoch's, on the validation
list, each by its own side. Rows go to trainers.csv in --output one by one; those that are there, or
in benchmarks/trainers.csv (measured before), are not done again.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from benchmarks.long_runs import ROOT, compressed, run_command, scored, trained
from benchmarks.peers.data_yaml import data_yaml
from utils.command.cli import Parser, positive_int, run_main
from utils.command.errors import UserError
from utils.command.table import table

MEASURED = ROOT / "benchmarks" / "trainers.csv"
NETWORKS, DATA, ROWS = ("yolo11n", "yolo26n"), ("bccd", "cards"), ("ours", "peer", "pruned")
SHARED = "--batch-size 16 --cache-images --threads 1 --workers 0"
KEEP = 0.3


@dataclass(frozen=True)
class Key:
    """What tells rows apart."""

    network: str
    data: str
    row: str
    epochs: int
    seed: int

    @property
    def name(self) -> str:
        """Of a folder."""
        return f"{self.network}-{self.data}-{self.row}-{self.epochs}-{self.seed}"


@dataclass(frozen=True)
class Figures:
    """What a row found."""

    parameters: int
    map50: float
    map: float
    minutes: float


@dataclass(frozen=True)
class Bench:
    """Where data and results are."""

    datasets: Path
    output: Path
    peer_python: str

    def data(self, name: str) -> Path:
        """The .data file."""
        return self.datasets / name / f"{name}.data"


def ours(bench: Bench, key: Key) -> Figures:
    """train.py on a fresh cfg."""
    return _of(bench, key, *_trained(bench, key))


def _of(bench: Bench, key: Key, weights: Path, minutes: float) -> Figures:
    found = scored(weights, bench.data(key.data))
    return Figures(found.parameters, found.map50 or 0.0, found.map or 0.0, minutes)


def _trained(bench: Bench, key: Key) -> tuple[Path, float]:
    """The last.pt of train.py, made, gone on with or there; minutes of this call."""
    data, cfg = bench.data(key.data), bench.output / f"{key.network}-{key.data}.cfg"
    if not cfg.is_file():
        run_command(f"make_cfg.py --cfg {key.network} --data {data} --img-size 320 --output {cfg}")
    words = f"--cfg {cfg} --data {data} --epochs {key.epochs} --seed {key.seed} {SHARED}"
    return trained(bench.output / "train" / replace(key, row="ours").name, words)


def peer(bench: Bench, key: Key) -> Figures:
    """ultralytics' own trainer."""
    if not bench.peer_python:
        raise UserError("peer: needs --peer-python, an environment with ultralytics")
    data = data_yaml(bench.data(key.data), bench.output / "peer" / f"data-{key.data}")
    folder = bench.output / "peer" / key.name
    words = f"--model {key.network}.yaml --data {data} --epochs {key.epochs} --seed {key.seed}"
    run_command(f"benchmarks/peers/own_training.py {words} --output {folder}", bench.peer_python)
    return Figures(**json.loads((folder / "result.json").read_text()))


def pruned(bench: Bench, key: Key) -> Figures:
    """compress.py of what train.py made, with as many epochs."""
    weights, _ = _trained(bench, key)
    goal = f"--keep-params {KEEP} --epochs {key.epochs} --seed {key.seed} {SHARED}"
    words = f"--weights {weights} --data {bench.data(key.data)} {goal}"
    return _of(bench, key, *compressed(bench.output / key.name, words))


def main(argv: Sequence[str] | None = None) -> None:
    """Do what is left, and print everything."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--datasets", type=Path, required=True, help="folder with bccd/ and cards/")
    add("--output", type=Path, default=Path("runs/trainers"), help="goes on with what lies there")
    add("--peer-python", default="", metavar="FILE", help="Python of the peer's environment")
    add("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    add("--data", nargs="+", choices=DATA, default=list(DATA))
    add("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    add("--epochs", type=positive_int, default=20)
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    args = parser.parse_args(argv)
    bench = Bench(args.datasets.resolve(), args.output.resolve(), args.peer_python)
    bench.output.mkdir(parents=True, exist_ok=True)
    file = bench.output / "trainers.csv"
    do = {"ours": ours, "peer": peer, "pruned": pruned}
    for seed, network, data, row in product(args.seeds, args.networks, args.data, args.rows):
        key = Key(network, data, row, args.epochs, seed)
        if key not in read_rows(file) | read_rows(MEASURED):
            _add(file, key, do[row](bench, key))
    print(summary(read_rows(MEASURED) | read_rows(file)))


def _add(file: Path, key: Key, found: Figures) -> None:
    fresh = not file.is_file()
    with file.open("a", newline="") as out:
        writer = csv.writer(out)
        if fresh:
            writer.writerow([*Key.__annotations__, *Figures.__annotations__])
        scores = [f"{found.map50:.4f}", f"{found.map:.4f}", f"{found.minutes:.1f}"]
        writer.writerow([*vars(key).values(), found.parameters, *scores])
    print(f"{key.name}: mAP@.5 {found.map50:.4f}", flush=True)


def read_rows(file: Path) -> dict[Key, Figures]:
    """The rows of trainers.csv that are there."""
    if not file.is_file():
        return {}
    found = {}
    with file.open(newline="") as rows:
        for row in csv.DictReader(rows):
            key = Key(row["network"], row["data"], row["row"], int(row["epochs"]), int(row["seed"]))
            scores = (float(row[name]) for name in ("map50", "map", "minutes"))
            found[key] = Figures(int(row["parameters"]), *scores)
    return found


def summary(rows: dict[Key, Figures]) -> str:
    """A line for each network, data set and row: mean and range of mAP@.5 over seeds."""
    found: dict[tuple[str, str, int, str], list[Figures]] = defaultdict(list)
    for key, figures in rows.items():
        found[key.network, key.data, key.epochs, key.row].append(figures)
    lines = [["network", "data", "epochs", "row", "seeds", "parameters", "mAP@.5", "range", "mAP"]]
    for (network, data, epochs, row), several in sorted(found.items()):
        map50 = [each.map50 for each in several]
        lines.append([
            network, data, str(epochs), row, str(len(several)), f"{several[0].parameters:,}",
            f"{sum(map50) / len(map50):.3f}", f"{min(map50):.3f}..{max(map50):.3f}",
            f"{sum(each.map for each in several) / len(several):.3f}",
        ])  # fmt: skip
    return table(lines, right=(2, 4, 5, 6, 8))


if __name__ == "__main__":
    run_main(main)
