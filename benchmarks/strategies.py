"""The pruning scripts and importances against each other, before and after the same finetuning.

    python -m benchmarks.strategies --cfg bccd.cfg --weights bccd-sparse.pt --data bccd.data \\
        --budget 0.5 --epochs 8 --output runs/strategies
    python -m benchmarks.strategies ... --strategies slim_prune --importances l1 taylor --seeds 0 1

Every row prunes the same weights to the same share of the parameters and finetunes what is left.
layer_prune.py knows no ratio: it removes as many blocks as come nearest to the budget;
layer_channel_prune.py removes --shortcuts of them and reaches the budget by channels. A seed is
that of the finetuning, of random scores and of taylor's images. Rows go to strategies.csv in
--output one by one, and rows that are there already are not done again, so a run can be broken off
and gone on with. At the end the whole file is printed as a table.
"""

from __future__ import annotations

import argparse
import csv
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import layer_channel_prune
import layer_prune
import prune
import shortcut_prune
import slim_prune
from models import Darknet
from utils.command.cli import Parser, add_img_size, positive_int, ratio, run_main
from utils.command.errors import UserError
from utils.command.progress import progress_bar
from utils.pruning.choice.chooser import make_chooser
from utils.pruning.command.flags import prune_flags
from utils.pruning.command.run import prune_network
from utils.pruning.goals.budget import cost, pruned_layers
from utils.pruning.importance.options import IMPORTANCES
from utils.pruning.report.result import Pruned

STRATEGIES = {
    "prune": prune.STRATEGY,
    "shortcut_prune": shortcut_prune.STRATEGY,
    "slim_prune": slim_prune.STRATEGY,
    "layer_prune": layer_prune.STRATEGY,
    "layer_channel_prune": layer_channel_prune.STRATEGY,
}
ROOT = Path(__file__).resolve().parent.parent
TRAIN_FLAGS = "--notest --cache-images --threads 1 --workers 0 --lr0 0.003"
FIGURES = (
    "blocks", "parameters", "share", "macs", "map50_before", "map50_pruned", "map_pruned",
    "map50_tuned", "map_tuned", "epochs",
)  # fmt: skip


@dataclass(frozen=True)
class Key:
    """What tells the rows apart."""

    strategy: str
    importance: str
    budget: str
    seed: str


def main(argv: Sequence[str] | None = None) -> None:
    """Do the rows that are missing; print the table."""
    args = make_parser().parse_args(argv)
    args.cfg, args.weights, args.data = (
        str(Path(path).resolve()) for path in (args.cfg, args.weights, args.data)
    )
    output = Path(args.output)
    output.mkdir(parents=True, exist_ok=True)
    path = output / "strategies.csv"
    wanted = [
        Key(strategy, importance, str(args.budget), str(seed))
        for strategy, importance, seed in product(args.strategies, args.importances, args.seeds)
    ]
    done = {row_key(row) for row in read_rows(path)}
    for key in progress_bar([key for key in wanted if key not in done], "rows", "row"):
        append_row(path, key, measure(key, args, output))
    print(table(read_rows(path)))


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--cfg", required=True, help="structure of the sparsely trained model")
    add("--weights", required=True, help="its weights")
    add("--data", required=True, help=".data file to finetune and score with")
    add("--budget", type=ratio, default=0.5, help="share of the parameters that stays")
    add("--strategies", nargs="+", choices=tuple(STRATEGIES), default=list(STRATEGIES), metavar="S")
    add("--importances", nargs="+", choices=tuple(IMPORTANCES), default=["bn"], metavar="I")
    add("--seeds", nargs="+", type=int, default=[0], metavar="N", help="one row for each")
    add("--shortcuts", type=positive_int, default=2, help="blocks that layer_channel_prune removes")
    add("--layer-keep", type=ratio, default=0.05, help="floor of the scripts that have one")
    add("--epochs", type=positive_int, default=8, help="of the finetuning")
    add("--train-flags", default=TRAIN_FLAGS, help="further flags of train.py, in one string")
    add("--output", default="runs/strategies", help="folder of strategies.csv and of the work")
    add_img_size(parser)
    return parser


def measure(key: Key, args: argparse.Namespace, output: Path) -> dict[str, object]:
    """Prune, score, finetune, score: the figures of a row."""
    work = output / "-".join((key.strategy, key.importance, key.budget, key.seed))
    shutil.rmtree(work, ignore_errors=True)  # of a row that was broken off
    work.mkdir()
    cfg, weights = (Path(shutil.copy(path, work)) for path in (args.cfg, args.weights))
    found = pruned(key, args, ["--cfg", str(cfg), "--weights", str(weights)])
    tuned = finetuned(found, key, args, work)
    return {
        "blocks": len(found.plan.dropped),
        "parameters": found.after.parameters,
        "share": f"{found.after.parameters / found.before.parameters:.4f}",
        "macs": found.after.macs,
        "map50_before": f"{found.before.map50:.4f}",
        "map50_pruned": f"{found.after.map50:.4f}",
        "map_pruned": f"{found.after.map:.4f}",
        "map50_tuned": f"{float(tuned['val/map50']):.4f}",
        "map_tuned": f"{float(tuned['val/map']):.4f}",
        "epochs": args.epochs,
    }


def pruned(key: Key, args: argparse.Namespace, files: list[str]) -> Pruned:
    """The network of a row, written beside `files`."""
    strategy = STRATEGIES[key.strategy]
    argv = [*files, "--importance", key.importance, "--seed", key.seed, "--data", args.data]
    argv += ["--workers", "0", *img_flags(args)]
    if strategy.channels is None:
        argv += ["--shortcuts", str(nearest_count(key, args, argv))]
    else:
        argv += ["--target-params", key.budget]
        argv += ["--shortcuts", str(args.shortcuts)] if strategy.blocks else []
        argv += ["--layer-keep", str(args.layer_keep)] if strategy.has_floor else []
    return prune_network(prune_flags(strategy, None, argv), Darknet)


def nearest_count(key: Key, args: argparse.Namespace, argv: list[str]) -> int:
    """How many blocks layer_prune.py has to remove to come nearest to the budget."""
    strategy = STRATEGIES[key.strategy]
    model = Darknet(args.cfg).load_weights(args.weights)
    options = prune_flags(strategy, None, argv)
    chooser = make_chooser(options, model, model.state_dict())
    if not chooser.blocks:
        raise UserError(f"{args.cfg}: has no residual block, so layer_prune.py has nothing to do")
    whole = cost(model.rules, "params")

    def distance(count: int) -> float:
        plan = replace(chooser, shortcuts=count).plan(0.0)
        return abs(cost(pruned_layers(model.cfg, plan), "params") / whole - float(key.budget))

    return min(range(1, len(chooser.blocks) + 1), key=distance)


def finetuned(found: Pruned, key: Key, args: argparse.Namespace, work: Path) -> dict[str, str]:
    """The last line of results.csv of a finetuning in `work`."""
    command = [sys.executable, str(ROOT / "train.py"), "--cfg", str(found.cfg_path.resolve())]
    command += ["--weights", str(found.weights_path.resolve()), "--data", args.data]
    command += ["--epochs", str(args.epochs), "--seed", key.seed, "--name", "tuned"]
    command += [*img_flags(args), *shlex.split(args.train_flags)]
    with (work / "train.log").open("wb") as log:
        done = subprocess.run(
            command, cwd=work, stdout=log, stderr=log, env=dict(os.environ), check=False
        )
    if done.returncode:
        raise UserError(f"{work / 'train.log'}: train.py failed; its last words are there")
    return read_rows(work / "runs" / "train" / "tuned" / "results.csv")[-1]


def img_flags(args: argparse.Namespace) -> list[str]:
    return ["--img-size", *map(str, args.img_size)] if args.img_size else []


def row_key(row: dict[str, str]) -> Key:
    return Key(row["strategy"], row["importance"], row["budget"], row["seed"])


def read_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def append_row(path: Path, key: Key, figures: dict[str, object]) -> None:
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [*vars(key), *FIGURES])
        if fresh:
            writer.writeheader()
        writer.writerow({**vars(key), **figures})


def table(rows: list[dict[str, str]]) -> str:
    """The rows as a Markdown table."""
    heads = ("script", "importance", "seed", "blocks", "parameters", "MACs, M",
             "mAP@.5 pruned", "finetuned", "mAP@.5:.95 pruned", "finetuned")  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = (
            row["strategy"], row["importance"], row["seed"], row["blocks"],
            f"{int(row['parameters']):,} ({float(row['share']):.1%})",
            f"{int(row['macs']) / 1e6:.0f}", row["map50_pruned"], row["map50_tuned"],
            row["map_pruned"], row["map_tuned"],
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_main(main)
