"""Whether the data loader keeps up with the training step.

    python -m benchmarks.loader --data data/my.data            # yolov3-tiny, 416 px, 2 workers

One round loads an epoch of augmented images (mosaic, affine, HSV, flip; resized images in RAM, as
with --cache-images) as train.py does, and then times the default training step in a process of its
own. The loader starves the step where its rate is the lower one: workers and step share the cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from benchmarks.train_step import DEFAULT, run_alone
from models import Darknet
from utils.command.cli import Parser, add_img_size, img_size, positive_int, run_main
from utils.command.table import table
from utils.data.darknet_files import load_data_file
from utils.data.dataset import DetectionDataset
from utils.data.loader import Loader, make_loader
from utils.data.options import AugmentOptions


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = Parser(__doc__)
    parser.add_argument("--cfg", default="cfg/yolov3-tiny.cfg", help="the network of the step")
    parser.add_argument("--data", required=True, help=".data file: its training images")
    parser.add_argument("--batch-size", type=positive_int, default=8, help="images per batch")
    add_img_size(parser, default=(416,))
    parser.add_argument(
        "--workers", type=int, default=2, help="processes that load; 0: in this one"
    )
    parser.add_argument("--rounds", type=positive_int, default=3, help="turns of each")
    args = parser.parse_args(argv)
    loader = make(args)
    count_images(loader)  # warm-up: starts the workers, fills the caches
    loaded, stepped = [], []
    size = [str(side) for side in args.img_size]
    step = ["--cfg", args.cfg, "--batch-size", str(args.batch_size), "--img-size", *size]
    for number in tqdm(range(args.rounds), desc="rounds"):
        loader.set_epoch(number + 1)
        start = time.perf_counter()
        images = count_images(loader)
        loaded.append(images / (time.perf_counter() - start))
        stepped += [args.batch_size / ms * 1e3 for ms in run_alone(DEFAULT, step)["step"]]
    rows = [("", "images/s (10..90 %)"), ("loader", spread(loaded)), ("step", spread(stepped))]
    print(table(rows))
    ratio = float(np.median(loaded) / np.median(stepped))
    print(f"the loader is {ratio:.2f} times as fast as the step")


def make(args: argparse.Namespace) -> Loader:
    """The loader that train.py would make, shuffled and augmented."""
    model = Darknet(args.cfg, img_size(args.img_size))
    spec = load_data_file(args.data)
    images = DetectionDataset(
        spec.require("train"),
        spec.nc,
        model.img_size,
        augment=AugmentOptions(),
        fit="stretch",
        cache=True,
    )
    return make_loader(images, args.batch_size, args.workers, shuffle=True, drop_last=True)


def count_images(loader: Loader) -> int:
    """Load one epoch."""
    return sum(len(batch.images) for batch in loader)


def spread(values: Sequence[float]) -> str:
    """Median and the range of 8 of 10."""
    p10, median, p90 = np.percentile(values, (10, 50, 90))
    return f"{median:.1f} ({p10:.1f}..{p90:.1f})"


if __name__ == "__main__":
    run_main(main)
