"""The whole line on the embedded data set: train, sparse training, slim, finetune, run in OpenCV.

    python demo.py                 # or: make demo
    python demo.py --output runs/my-demo --seed 1

It draws a data set, runs the commands that it prints (the same that you would run on your own
data), compares OpenCV's detections with PyTorch's, and ends with a table and a picture of
detections before and after. All files lie in --output; the training runs in runs/train.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from utils.command.cli import Parser, run_main, seed
from utils.command.errors import UserError
from utils.command.folders import first_free
from utils.runtimes.demo.stages import Stage

ROOT = Path(__file__).resolve().parent
TARGET = 0.28  # the share of the parameters that may stay
# The drawn objects are simple, and the training is short.
MILD_AUGMENTATION = "--mosaic 0 --scale 0.2 --translate 0.1 --hsv-s 0.3 --hsv-v 0.2 --cls-gain 1.5"
# SGD, as AdamW would divide the pull on the gammas by the size of their gradients. The upper 30%
# of them are spared, so that the network goes on working while the others vanish.
SPARSE = (
    "--optimizer sgd --lr0 0.02 -sr --s 0.028 --strategy slim_prune "
    "--sparsity-schedule local-decay --decay-at 0 --keep-percent 0.7"
)
# The steps, and the share of the whole time that each takes on two idle cores.
STEPS = {
    "draw a data set": 0.01,
    "train": 0.35,
    "train sparsely: pull the gammas of the channels that matter least to zero": 0.3,
    "slim: remove the channels with the smallest gammas": 0.03,
    "finetune": 0.26,
    "compare: PyTorch and OpenCV": 0.05,
}


@dataclass
class Steps:
    """Tells which step begins, and for how long it and those behind it will go on."""

    begun_s: float = field(default_factory=time.perf_counter)
    done: int = 0

    def next(self) -> None:
        """Print the heading of the next step."""
        titles, shares = list(STEPS), list(STEPS.values())
        behind = sum(shares[: self.done])
        left = ""
        # The first steps are too short to judge a machine by.
        if behind > 0.1:
            minutes = (time.perf_counter() - self.begun_s) / behind * (1 - behind) / 60
            left = f" (about {minutes:.1f} min left)"
        print(f"\n== {self.done + 1} of {len(STEPS)}: {titles[self.done]}{left}", flush=True)
        self.done += 1


def main(argv: Sequence[str] | None = None) -> None:
    """Run the line. Raises UserError when a step fails."""
    parser = Parser(__doc__)
    parser.add_argument("--output", default="runs/demo", help="folder for everything it writes")
    parser.add_argument("--seed", type=seed, default=0, help="of data, weights and augmentation")
    parser.add_argument("--images", type=int, default=300, help="images to draw")
    args = parser.parse_args(argv)
    steps = Steps()
    folder = first_free(args.output)
    folder.mkdir(parents=True)
    shapes = folder / "shapes"
    print(f"{len(STEPS)} steps, 4 to 9 minutes on two cores; all files: {folder}")
    steps.next()
    _python(
        f"data/shapes.py --output {shapes} --images {args.images} --seed {args.seed} --img-size 160"
    )
    base, sparse, slim, tuned = _train_and_slim(folder, shapes / "shapes.data", args.seed, steps)
    steps.next()
    from models import Darknet  # the commands before had their own
    from utils.runtimes.demo.results import stages_table, verdict
    from utils.runtimes.demo.run import measure_stages, save_before_after

    print("four models: mAP in PyTorch and in OpenCV, then times in turns", flush=True)
    data = shapes / "shapes.data"
    rows = measure_stages([base, sparse, slim, tuned], data, Darknet)
    seen = save_before_after(folder / "before_after.png", rows[0], rows[-1], data, Darknet)
    print(stages_table(rows))
    print(verdict(rows[0], rows[-1], time.perf_counter() - steps.begun_s))
    print(f"Picture: {folder / 'before_after.png'}: {seen}")
    print(f"Pruned model: {tuned.cfg} {tuned.weights}")


def _train_and_slim(
    folder: Path, data: Path, seed: int, steps: Steps
) -> tuple[Stage, Stage, Stage, Stage]:
    """The four models of the line; the commands are printed as they run."""
    cfg = folder / "demo.cfg"
    shutil.copyfile(ROOT / "cfg" / "demo.cfg", cfg)
    common = f"--data {data} {MILD_AUGMENTATION} --notest --cache-images --seed {seed}"
    steps.next()
    base = _trained("base", folder, cfg, f"--epochs 24 --lr0 0.002 {common}")
    steps.next()
    sparse = _trained(
        "sparse", folder, cfg, f"--weights {base.checkpoint} --epochs 20 {SPARSE} {common}"
    )
    steps.next()
    _python(
        f"slim_prune.py --cfg {cfg} --weights {sparse.checkpoint} --data {data} "
        f"--target-params {TARGET} --layer-keep 0.05"
    )
    prefix = f"prune_params{TARGET}_keep_0.05_"
    slim = Stage("slimmed", folder / f"{prefix}demo.cfg", folder / f"{prefix}sparse.weights")
    steps.next()
    tuned = _trained(
        "finetuned", folder, slim.cfg, f"--weights {slim.weights} --epochs 24 --lr0 0.002 {common}"
    )
    return base, sparse, slim, tuned


def _trained(name: str, folder: Path, cfg: Path, flags: str) -> Stage:
    """Run train.py; leave folder/NAME.pt, and folder/NAME.weights for any runtime."""
    from models import convert

    run = f"{folder.name}-{name}"
    before = set((ROOT / "runs" / "train").glob(f"{run}*"))
    _python(f"train.py --cfg {cfg} {flags} --name {run}")
    (made,) = set((ROOT / "runs" / "train").glob(f"{run}*")) - before
    stage = Stage(name, cfg, folder / f"{name}.weights")
    shutil.copyfile(made / "last.pt", stage.checkpoint)
    convert(cfg, stage.checkpoint, bn_epsilon="any").replace(stage.weights)
    return stage


def _python(command: str) -> None:
    """Run a command of this repository, shown as a user would type it."""
    print(f"$ python {command}", flush=True)
    done = subprocess.run([sys.executable, *shlex.split(command)], cwd=ROOT, check=False)
    if done.returncode:
        raise UserError(f"'python {command}' ended with code {done.returncode}; see above")


if __name__ == "__main__":
    run_main(main)
