"""Recipes against each other: the same start, the same epochs in all, the same size in the end.

    python -m benchmarks.recipes --datasets ../shared/datasets --coco yolov8n_coco.pt
    python -m benchmarks.recipes ... --output runs/recipes --blocks tiny-bccd --seeds 0 1 2

A block is a network and a data set at 320 px. Its rows: dense (all epochs without a cut), compress
(compress.py with nothing but the goal), commands (the README's line: sparse training by gammas, a
cut to the same size, finetuning with the network before as its teacher), random (compress.py's
structure, trained from random weights for all epochs) and, where --peer-python names an environment
with ultralytics and torch-pruning, peer (benchmarks/peers/torch_pruning_recipe.py: the same data,
size, batch, epochs and parameters; scored by its own validator). Scores are the last epoch's, on
the validation list, which no row looks at before. Rows go to recipes.csv in --output one by one;
those that are there, or in benchmarks/recipes.csv (measured before), are not done again, a training
that was broken off goes on. At the end all rows are printed: mean and range over seeds.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.long_runs import ROOT, compressed, run_command, scored, trained
from benchmarks.peers.data_yaml import data_yaml
from utils.command.cli import Parser, run_main
from utils.command.errors import UserError
from utils.command.table import table

SHARED = "--batch-size 16 --cache-images --threads 1 --workers 0"
PEER = "benchmarks/peers/torch_pruning_recipe.py"
MEASURED = ROOT / "benchmarks" / "recipes.csv"
FIGURES = ("epochs", "parameters", "macs", "map50", "map", "minutes")


@dataclass(frozen=True)
class Block:
    """A network on a data set: epochs of the base that is compressed, and of what comes after."""

    name: str
    data: str
    cfg: str  # "" is the COCO checkpoint, translated for the classes of the data
    base: int
    rest: int

    @property
    def epochs(self) -> int:
        """Of a dense training."""
        return self.base + self.rest


BLOCKS = {
    block.name: block
    for block in (
        Block("tiny-bccd", "bccd", "cfg/yolov3-tiny.cfg", 12, 24),
        Block("v8n-bccd", "bccd", "", 4, 12),
        Block("v8n-cards", "cards", "", 8, 24),
    )
}


@dataclass(frozen=True)
class Key:
    """What tells rows apart; `keep` is 1 for dense."""

    block: str
    row: str
    keep: float
    seed: int


@dataclass(frozen=True)
class Bench:
    """Where data, weights and results are."""

    datasets: Path
    coco: str
    output: Path
    peer_python: str = ""

    def data(self, block: Block) -> Path:
        """The .data file."""
        return self.datasets / block.data / f"{block.data}.data"

    def start(self, block: Block) -> str:
        """The flags of what every row of a block starts from: a cfg, and its weights if any."""
        cfg = self.output / f"{block.name}.cfg"
        if not cfg.is_file():
            data = f"--data {self.data(block)} --img-size 320 --output {cfg}"
            if block.cfg:
                run_command(f"make_cfg.py --cfg {block.cfg} {data} --anchors")
            else:
                run_command(f"translate.py --weights {self.coco} {data} --bn-export native")
        weights = cfg.with_suffix(".weights")
        return f"--cfg {cfg}" + (f" --weights {weights}" if weights.is_file() else "")

    def trained(self, name: str, words: str) -> tuple[Path, float]:
        """The last.pt of a run that is made, or gone on with, or there; minutes of this call."""
        return trained(self.output / "train" / name, f"{words} {SHARED}")

    def base(self, block: Block, seed: int) -> Path:
        """What is compressed."""
        rates = "--lr0 0.001" if not block.cfg else "--lr0 0.0015"
        words = f"{self.start(block)} --data {self.data(block)} --epochs {block.base} {rates}"
        return self.trained(f"{block.name}-base-{seed}", f"{words} --seed {seed}")[0]


def dense(bench: Bench, block: Block, key: Key) -> tuple[Path, float]:
    """All epochs, nothing cut."""
    rates = "--lr0 0.001" if not block.cfg else "--lr0 0.0015"
    words = f"{bench.start(block)} --data {bench.data(block)} --epochs {block.epochs} {rates}"
    return bench.trained(f"{block.name}-dense-{key.seed}", f"{words} --seed {key.seed}")


def by_compress(bench: Bench, block: Block, key: Key) -> tuple[Path, float]:
    """compress.py with the goal alone, and as many epochs as the block has left."""
    base = bench.base(block, key.seed)
    folder = bench.output / f"{block.name}-compress-{key.keep:g}-{key.seed}"
    goal = f"--keep-params {key.keep:g} --epochs {block.rest} --seed {key.seed} {SHARED}"
    return compressed(folder, f"--weights {base} --data {bench.data(block)} {goal}")


def commands(bench: Bench, block: Block, key: Key) -> tuple[Path, float]:
    """The README's line of single commands, a third of the epochs for sparse training."""
    base, data = bench.base(block, key.seed), bench.data(block)
    sparse_epochs = round(block.rest / 3)
    name = f"{block.name}-commands-{key.keep:g}-{key.seed}"
    words = f"--weights {base} --data {data} --epochs {sparse_epochs} --seed {key.seed}"
    sparse, first = bench.trained(
        f"{block.name}-sparse-{key.seed}", f"{words} --hyp data/hyp/sparse.yaml"
    )
    cut = bench.output / name / f"{name}.weights"
    if not cut.is_file():
        how = f"--target-params {key.keep:g} --project {bench.output} --name {name} --force"
        run_command(f"slim_prune.py --weights {sparse} --data {data} {how}")
    left = block.rest - sparse_epochs
    taught = f"--weights {cut} --t-weights {base} --data {data} --epochs {left}"
    tuned, second = bench.trained(name, f"{taught} --seed {key.seed}")
    return tuned, first + second


def random(bench: Bench, block: Block, key: Key) -> tuple[Path, float]:
    """The structure that compress.py found, from random weights, for all epochs."""
    found, _ = by_compress(bench, block, key)
    words = f"--cfg {found.with_suffix('.cfg')} --data {bench.data(block)} --lr0 0.002"
    name = f"{block.name}-random-{key.keep:g}-{key.seed}"
    return bench.trained(name, f"{words} --epochs {block.epochs} --seed {key.seed}")


Row = Callable[[Bench, Block, Key], tuple[Path, float]]
ROWS: dict[str, Row] = {
    "compress": by_compress, "dense": dense, "commands": commands, "random": random,
}  # fmt: skip


def peer(bench: Bench, block: Block, key: Key) -> tuple[Mapping[str, Any], float]:
    """What result.json of the peer says; minutes of this call."""
    data = data_yaml(bench.data(block), bench.output / "peer" / f"data-{block.data}")
    model = bench.coco if not block.cfg else f"{Path(block.cfg).stem}.yaml"
    sparse = round(block.rest / 3)
    folder = bench.output / "peer" / f"{block.name}-{key.keep:g}-{key.seed}"
    epochs = f"--base-epochs {block.base} --sparse-epochs {sparse} "
    epochs += f"--finetune-epochs {block.rest - sparse}"
    words = f"--model {model} --data {data} --img-size 320 --batch-size 16 {epochs}"
    where = f"--keep {key.keep:g} --seed {key.seed} --output {folder}"
    result, minutes = folder / "result.json", 0.0
    if not result.is_file():
        minutes = run_command(f"{PEER} {words} {where}", bench.peer_python)
    found: dict[str, Any] = json.loads(result.read_text())
    return found, minutes


def main(argv: Sequence[str] | None = None) -> None:
    """Do what is left, and print everything."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--datasets", type=Path, required=True, help="folder with bccd/ and cards/")
    add("--coco", default="", help="YOLOv8n checkpoint with COCO weights, for the v8n blocks")
    add("--output", type=Path, default=Path("runs/recipes"), help="goes on with what lies there")
    add("--blocks", nargs="+", choices=tuple(BLOCKS), default=list(BLOCKS))
    add("--rows", nargs="+", choices=(*ROWS, "peer"), default=[], help="left out, all there are")
    add("--peer-python", default="", metavar="FILE", help="Python of the peer's environment")
    add("--keeps", nargs="+", type=float, default=[0.25, 0.1], help="shares of the parameters")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    args = parser.parse_args(argv)
    bench = Bench(args.datasets.resolve(), args.coco and str(Path(args.coco).resolve()),
                  args.output.resolve(), args.peer_python)  # fmt: skip
    rows = args.rows or [*ROWS, *(["peer"] if args.peer_python else [])]
    if "peer" in rows and not args.peer_python:
        raise UserError("--rows peer: needs --peer-python, an environment with what it runs")
    bench.output.mkdir(parents=True, exist_ok=True)
    file = bench.output / "recipes.csv"
    keys = list(dict.fromkeys(_keys(args.blocks, rows, args.keeps, args.seeds)))
    for key in keys:
        if key not in read_rows(file) | read_rows(MEASURED):
            _add(bench, file, key)
    print(summary(read_rows(MEASURED) | read_rows(file)))


def _keys(
    blocks: Sequence[str], rows: Sequence[str], keeps: Sequence[float], seeds: Sequence[int]
) -> Iterator[Key]:
    for seed, block, row, keep in product(seeds, blocks, rows, keeps):
        yield Key(block, row, 1.0 if row == "dense" else keep, seed)


def _add(bench: Bench, file: Path, key: Key) -> None:
    block = BLOCKS[key.block]
    told = _of_the_peer if key.row == "peer" else _of_ours
    parameters, macs, map50, map_, minutes = told(bench, block, key)
    row = (
        *vars(key).values(), block.epochs, parameters, macs,
        f"{map50:.4f}", f"{map_:.4f}", f"{minutes:.1f}",
    )  # fmt: skip
    fresh = not file.is_file()
    with file.open("a", newline="") as out:
        writer = csv.writer(out)
        if fresh:
            writer.writerow([*Key.__annotations__, *FIGURES])
        writer.writerow(row)
    print(f"{key}: mAP@.5 {map50:.4f}", flush=True)


Told = tuple[int, int | str, float, float, float]  # parameters, MACs, mAPs and minutes


def _of_ours(bench: Bench, block: Block, key: Key) -> Told:
    weights, minutes = ROWS[key.row](bench, block, key)
    found = scored(weights, bench.data(block))
    return found.parameters, found.macs, found.map50 or 0.0, found.map or 0.0, minutes


def _of_the_peer(bench: Bench, block: Block, key: Key) -> Told:
    found, minutes = peer(bench, block, key)
    return found["parameters"], "", found["map50"], found["map"], minutes


def read_rows(file: Path) -> dict[Key, dict[str, str]]:
    """The rows of recipes.csv that are there."""
    if not file.is_file():
        return {}
    with file.open(newline="") as rows:
        return {
            Key(row["block"], row["row"], float(row["keep"]), int(row["seed"])): row
            for row in csv.DictReader(rows)
        }


def summary(rows: dict[Key, dict[str, str]]) -> str:
    """A line for each block, row and size: mean and range of mAP@.5 over seeds."""
    found: dict[tuple[str, float, str], list[dict[str, str]]] = defaultdict(list)
    for key, row in rows.items():
        found[key.block, key.keep, key.row].append(row)
    lines = [["block", "kept", "row", "seeds", "parameters", "mAP@.5", "range", "mAP@.5:.95"]]
    for (block, keep, name), several in sorted(found.items(), key=lambda pair: pair[0]):
        map50 = [float(row["map50"]) for row in several]
        map_ = [float(row["map"]) for row in several]
        lines.append([
            block, f"{keep:g}", name, str(len(several)), f"{int(several[0]['parameters']):,}",
            f"{sum(map50) / len(map50):.3f}", f"{min(map50):.3f}..{max(map50):.3f}",
            f"{sum(map_) / len(map_):.3f}",
        ])  # fmt: skip
    return table(lines, right=(1, 3, 4, 5, 7))


if __name__ == "__main__":
    run_main(main)
