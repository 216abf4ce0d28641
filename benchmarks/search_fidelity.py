"""Whether search.py's fast score ranks cut networks as a full evaluation does, and how much faster.

    python -m benchmarks.search_fidelity --weights base.pt --data ../shared/datasets/bccd/bccd.data
    python -m benchmarks.search_fidelity ... --fast 320:29:16 320:8:4 --candidates 20

Candidates are drawn as the search's sampler draws its first ones, a share of each group's channels
between --least and 1 of the largest (evenly in its logarithm), and cut to --target-params. A full
evaluation cuts, measures the BN statistics again on 200 training images and scores the whole
validation list, as a prune with --recalibrate 200 does; the fast score is the search's own, on
images that are held in memory, at SIZE:IMAGES:STATISTICS (pixels, development images, images for
BN statistics). Times are processor time of the same process, so that other work on the machine
counts for neither; both hold from the shares of a candidate to its mAP@.5.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from models import Darknet
from slim_prune import STRATEGY
from utils.chains.search.options import IMAGES, RECALIBRATE, SearchOptions
from utils.chains.search.scene import Scene, open_scene
from utils.chains.search.start import LEAST
from utils.chains.sensitivity.subject import Subject, open_subject
from utils.command.cli import Parser, positive_int, ratio, run_main
from utils.command.csv_file import write_csv
from utils.command.progress import progress_bar
from utils.command.table import table
from utils.detection.figures import figures
from utils.detection.options import Development, Inputs, Scoring
from utils.pruning.options import Budget
from utils.pruning.plan import PrunePlan
from utils.pruning.recalibrate import recalibrated
from utils.pruning.sensitivity.record import spearman

FULL_STATISTICS = 200


@dataclass(frozen=True)
class Fast:
    """A fast score: input size in pixels, development images, images for BN statistics."""

    size_px: int
    images: int
    statistics: int

    def __str__(self) -> str:
        """As it is typed."""
        return f"{self.size_px}:{self.images}:{self.statistics}"


@dataclass
class Scored:
    """mAP@.5 of each candidate, and the processor time that each took."""

    map50: list[float]
    cpu_s: list[float]

    def add(self, call: Callable[[], float]) -> None:
        """Score one more."""
        began = time.process_time()
        self.map50.append(call())
        self.cpu_s.append(time.process_time() - began)


def fast(text: str) -> Fast:
    """The type of --fast."""
    try:
        found = Fast(*map(int, text.split(":")))
    except (ValueError, TypeError):
        raise argparse.ArgumentTypeError(f"{text}: as SIZE:IMAGES:STATISTICS, 160:29:16") from None
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Score the same candidates in all ways, and print how these agree."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--weights", required=True, help="a trained network, .pt or .weights beside its cfg")
    add("--data", required=True, help="its data set")
    add("--img-size", type=positive_int, default=320, help="of the full evaluation")
    add("--target-params", type=ratio, default=0.5, help="the share that candidates keep")
    add(
        "--least",
        type=ratio,
        default=LEAST,
        help="the smallest share; many small ones find nothing",
    )
    add("--candidates", type=positive_int, default=20, help="how many are scored")
    add("--fast", type=fast, nargs="+", default=[Fast(320, IMAGES, RECALIBRATE)],
        metavar="SIZE:IMAGES:STATISTICS", help="the fast scores to compare")  # fmt: skip
    add("--seed", type=int, default=0, help="of the candidates and of the images drawn")
    add("--csv", type=Path, help="a file for the scores of all candidates, rewritten after each")
    add("--threads", type=positive_int, default=1, help="CPU threads")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    inputs = Inputs(args.weights, args.weights, (args.img_size,) * 2)
    how = Scoring(args.data, workers=0, seed=args.seed)
    with tempfile.TemporaryDirectory() as folder:
        scenes = {each: opened(each, inputs, how, args, Path(folder)) for each in args.fast}
        whole, found = compared(scenes, inputs, how, args)
    report(whole, found, args)


def opened(
    each: Fast, inputs: Inputs, how: Scoring, args: argparse.Namespace, folder: Path
) -> Scene:
    """What the search would work on."""
    options = SearchOptions(
        "slim_prune",
        STRATEGY,
        replace(inputs, img_size=(each.size_px, each.size_px)),
        how,
        (Budget("params", args.target_params),),
        development=Development(seed=args.seed, most=each.images),
        recalibrate=each.statistics,
    )
    return open_scene(options, folder / str(each).replace(":", "-"), Darknet)


def compared(
    scenes: dict[Fast, Scene], inputs: Inputs, how: Scoring, args: argparse.Namespace
) -> tuple[Scored, dict[Fast, Scored]]:
    """Each candidate by a full evaluation, and by each fast score."""
    first = next(iter(scenes.values()))
    native = open_subject(inputs, Darknet)
    draw = np.random.default_rng(args.seed)
    whole, found = Scored([], []), {each: Scored([], []) for each in scenes}
    for _ in progress_bar(range(args.candidates), "candidates", "net"):
        logs = draw.uniform(math.log(args.least), 0.0, len(first.allotter.groups))
        shares = np.exp(logs).tolist()
        whole.add(partial(full_score, first, shares, native, how))
        for each, scene in scenes.items():
            found[each].add(partial(fast_score, scene, shares))
        if args.csv:
            _write(args.csv, whole, found)
    return whole, found


def _write(path: Path, whole: Scored, found: dict[Fast, Scored]) -> None:
    """A line for each candidate: mAP@.5 and processor time of the full evaluation, and of each."""
    columns = {"full": whole, **{str(each): scored for each, scored in found.items()}}
    rows = [
        {
            key: value
            for name, scored in columns.items()
            for key, value in ((name, scored.map50[k]), (f"{name} s", scored.cpu_s[k]))
        }
        for k in range(len(whole.map50))
    ]
    write_csv(path, rows)


def plan_of(scene: Scene, shares: Sequence[float]) -> PrunePlan:
    """The plan at these shares under the budget, as a trial makes it."""
    plan = scene.allotter.scaled(shares, scene.budgets.hold)
    assert plan is not None  # opening the scene saw to it
    return plan


def fast_score(scene: Scene, shares: Sequence[float]) -> float:
    """mAP@.5 as the search scores it."""
    return scene.judge.cut(plan_of(scene, shares)).map50


def full_score(scene: Scene, shares: Sequence[float], subject: Subject, how: Scoring) -> float:
    """mAP@.5 on the validation list, the BN statistics measured again."""
    small, _ = recalibrated(subject.cut(plan_of(scene, shares)), how, FULL_STATISTICS)
    return figures(small, how, False).map50 or 0.0


def report(whole: Scored, found: dict[Fast, Scored], args: argparse.Namespace) -> None:
    """A row for each way: time, how many times as fast, rank correlation, and the scores' range."""
    full_s = statistics.median(whole.cpu_s)
    rows = [["score", "s of a processor (median)", "times as fast", "Spearman", "mAP@.5"]]
    rows.append(["full evaluation", f"{full_s:.2f}", "1", "1", _range(whole.map50)])
    for each, scored in found.items():
        own_s = statistics.median(scored.cpu_s)
        agreement = spearman(whole.map50, scored.map50)
        rows.append([
            str(each), f"{own_s:.2f}", f"{full_s / own_s:.1f}", f"{agreement:.2f}",
            _range(scored.map50),
        ])  # fmt: skip
    print(table(rows, right=(1, 2, 3)))
    print(
        f"{args.candidates} random candidates that keep {args.target_params:g} of the parameters, "
        f"with shares from {args.least:g}; "
        f"full: {args.img_size} px, BN statistics on {FULL_STATISTICS} training images, the whole "
        "validation list"
    )


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.3f}..{max(values):.3f}"


if __name__ == "__main__":
    run_main(main)
