"""The whole line on the embedded data set: train, compress, run in OpenCV.

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
KEPT = 0.28  # the share of the parameters that may stay
BASE_EPOCHS, EPOCHS = 24, 30  # of the network that is compressed, and of what comes after
# The drawn objects are simple, and the trainings are short.
MILD_AUGMENTATION = "--mosaic 0 --scale 0.2 --translate 0.1 --hsv-s 0.3 --hsv-v 0.2 --cls-gain 1.5"
# The steps, and the share of the whole time that each takes on two idle cores.
STEPS = {
    "draw a data set": 0.01,
    "train": 0.31,
    "compress: rank, empty and cut channels, finetune the rest": 0.63,
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
    data, common = shapes / "shapes.data", f"--cache-images --seed {args.seed}"
    steps.next()
    base = _trained(folder, data, common)
    steps.next()
    slimmed, tuned = _compressed(folder, data, common)
    steps.next()
    from models import Darknet  # the commands before had their own
    from utils.runtimes.demo.results import stages_table, verdict
    from utils.runtimes.demo.run import measure_stages, save_before_after

    print("three models: mAP in PyTorch and in OpenCV, then times in turns", flush=True)
    rows = measure_stages([base, slimmed, tuned], data, Darknet)
    seen = save_before_after(folder / "before_after.png", rows[0], rows[-1], data, Darknet)
    print(stages_table(rows))
    print(verdict(rows[0], rows[-1], time.perf_counter() - steps.begun_s))
    print(f"Picture: {folder / 'before_after.png'}: {seen}")
    print(f"Pruned model: {tuned.cfg} {tuned.weights}")
    print(f"What was decided, and why: {folder / 'small' / 'report' / 'report.html'}")


def _trained(folder: Path, data: Path, common: str) -> Stage:
    """Train the network that is compressed; leaves FOLDER/base.pt, and base.weights for OpenCV."""
    from models import convert

    cfg, run = folder / "demo.cfg", f"{folder.name}-base"
    shutil.copyfile(ROOT / "cfg" / "demo.cfg", cfg)
    before = set((ROOT / "runs" / "train").glob(f"{run}*"))
    how = f"--epochs {BASE_EPOCHS} --lr0 0.002 --notest {MILD_AUGMENTATION}"
    _python(f"train.py --cfg {cfg} --data {data} {how} {common} --name {run}")
    (made,) = set((ROOT / "runs" / "train").glob(f"{run}*")) - before
    stage = Stage("base", cfg, folder / "base.weights")
    shutil.copyfile(made / "last.pt", stage.checkpoint)
    convert(cfg, stage.checkpoint, bn_epsilon="any").replace(stage.weights)
    return stage


def _compressed(folder: Path, data: Path, common: str) -> tuple[Stage, Stage]:
    """The README's command, with fewer epochs: the cut network, and what is handed over."""
    output = folder / "small"
    goal = f"--keep-params {KEPT} --epochs {EPOCHS}"
    _python(
        f"compress.py --weights {folder / 'base.pt'} --data {data} {goal} {common} "
        f'--train-flags="{MILD_AUGMENTATION}" --output {output}'
    )
    slimmed = Stage("slimmed", output / "cut" / "cut.cfg", output / "cut" / "cut.weights")
    return slimmed, Stage("finetuned", output / "small.cfg", output / "small.weights")


def _python(command: str) -> None:
    """Run a command of this repository, shown as a user would type it."""
    print(f"$ python {command}", flush=True)
    done = subprocess.run([sys.executable, *shlex.split(command)], cwd=ROOT, check=False)
    if done.returncode:
        raise UserError(f"'python {command}' ended with code {done.returncode}; see above")


if __name__ == "__main__":
    run_main(main)
