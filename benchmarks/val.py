"""Where the time of an evaluation goes: data, forward pass, NMS, metrics.

    python -m benchmarks.val --cfg my.cfg --weights my.pt --data my.data --img-size 416

What is not the forward pass is overhead; NMS and mAP should be a small share of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from models import Darknet
from utils.command.cli import Parser, add_img_size, img_size, positive_int, run_main
from utils.command.table import table
from utils.data.darknet_files import load_data_file
from utils.data.dataset import DetectionDataset
from utils.data.loader import make_loader
from utils.detection.evaluate import evaluate


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = Parser(__doc__)
    parser.add_argument("--cfg", required=True, help="structure of the model")
    parser.add_argument("--weights", required=True, help="trained weights: NMS depends on them")
    parser.add_argument("--data", required=True, help=".data file: its validation images")
    parser.add_argument("--batch-size", type=positive_int, default=8, help="images per batch")
    add_img_size(parser)
    parser.add_argument("--rounds", type=positive_int, default=3, help="evaluations after a first")
    args = parser.parse_args(argv)
    network = Darknet(args.cfg, img_size(args.img_size), weights=args.weights)
    network.eval().fuse()
    spec = load_data_file(args.data)
    images = DetectionDataset(spec.require("valid"), spec.nc, network.img_size, fit="stretch")
    loader = make_loader(images, args.batch_size)
    rounds = []
    for number in tqdm(range(args.rounds + 1), desc="rounds"):
        metrics = evaluate(network, loader, spec.nc, spec.names, progress=False)
        if number:  # the first one warms up
            rounds.append(dataclasses.asdict(metrics.seconds))
    rows = [("part", "s (10..90 %)", "of the forward pass")]
    forward = float(np.median([spent["forward"] for spent in rounds]))
    for part in rounds[0]:
        p10, median, p90 = np.percentile([spent[part] for spent in rounds], (10, 50, 90))
        rows.append((part, f"{median:.3f} ({p10:.3f}..{p90:.3f})", f"{median / forward:.1%}"))
    print(table(rows))
    own = [spent["nms"] + spent["metrics"] for spent in rounds]
    print(
        f"{metrics.images} images, mAP@.5 {metrics.map50:.3f}: "
        f"NMS and metrics take {float(np.median(own)) / forward:.1%} of the forward pass"
    )


if __name__ == "__main__":
    run_main(main)
