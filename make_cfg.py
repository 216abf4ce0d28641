"""Write a copy of a cfg for the classes of a data set and, on request, for the sizes of its boxes.

Examples:
    python make_cfg.py --cfg cfg/yolov3-spp.cfg --data data/my.data
    python make_cfg.py --cfg cfg/yolov3-tiny.cfg --data data/my.data --anchors --img_size 320

The copy lies beside the source as NAME-DATA.cfg (cfg/yolov3-spp-my.cfg). Every head gets classes=
and the convolution before it the filters= to match. --anchors replaces the anchors by k-means over
the training boxes at the network's size, the largest for the head with the largest stride. --fit
sets letter_box in [net], which train.py, val.py and Darknet go by. All else stays, comments
included.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.cfg import Cfg, load_cfg, save_cfg
from utils.cfg.strict import add_strict_darknet, strict_cfg
from utils.command.cli import Parser, add_img_size, img_size, run_main
from utils.command.errors import UserError
from utils.command.table import table
from utils.data.anchors import COVERED_IOU, AnchorFit, box_sizes_px, cluster_anchors, measure_fit
from utils.data.darknet_files import load_data_file
from utils.data.options import Fit
from utils.data.problems import report_problems
from utils.data.samples import load_samples
from utils.detection.as_the_cfg_says import add_fit, chosen_fit
from utils.network.layers import input_shape
from utils.network.retarget import (
    anchor_count,
    head_stride_px,
    heads_of,
    with_anchors,
    with_classes,
    with_fit,
    with_img_size,
    with_title,
)


def build_parser() -> Parser:
    """The command's flags."""
    parser = Parser(__doc__)
    parser.add_argument("--cfg", required=True, help="the cfg to copy")
    parser.add_argument("--data", required=True, help="the .data file of the data set")
    parser.add_argument("--output", metavar="FILE", help="where the copy goes")
    parser.add_argument("--anchors", action="store_true", help="find anchors for the data set")
    add_img_size(parser)
    add_fit(parser)
    add_strict_darknet(parser)
    parser.add_argument("--seed", type=_seed, default=0, help="of the k-means starts")
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    return parser


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {text}")
    return value


def main(argv: Sequence[str] | None = None) -> Path:
    """Write the copy; returns its path."""
    args = build_parser().parse_args(argv)
    source, data = Path(args.cfg), load_data_file(args.data)
    output = Path(args.output or source.with_name(f"{source.stem}-{data.source.stem}.cfg"))
    if output.exists() and not args.force:
        raise UserError(f"{output}: is there already; name another with --output or use --force")

    before = load_cfg(source)
    after = with_classes(before, data.nc)
    size = img_size(args.img_size)
    if size:
        after = with_img_size(after, size)
    fits, fit = None, chosen_fit(args.fit, after)
    after = with_fit(after, fit)
    if args.anchors:
        after, fits = fit_anchors(after, data.require("train"), fit, args.seed)

    how = f"{data.nc} classes" + (", anchors by k-means" if fits else "")
    titled = with_title(after, [f"{source.name} for {data.source.name}: {how} (make_cfg.py)"])
    save_cfg(strict_cfg(titled) if args.strict_darknet else titled, output)
    print(head_changes(before, after))
    if fits:
        old, new = fits
        print(f"mean IoU of a box with its best anchor: {old.mean_iou:.3f} -> {new.mean_iou:.3f}")
        print(f"boxes with an IoU above {COVERED_IOU}: {old.covered:.1%} -> {new.covered:.1%}")
    print(f"written: {output}")
    return output


def fit_anchors(
    cfg: Cfg, list_path: Path, fit: Fit, seed: int
) -> tuple[Cfg, tuple[AnchorFit, AnchorFit]]:
    """The cfg with anchors for the boxes of a list, and how well the old and the new ones suit."""
    heads = heads_of(cfg)
    samples, problems = load_samples(list_path, heads[0].nc)
    report_problems(list_path, problems, strict=False)
    _, height, width = input_shape(cfg)
    sizes_px = box_sizes_px(samples, (height, width), fit)
    old_px = np.concatenate([head.anchors_px.double().numpy() for head in heads])
    changed = with_anchors(cfg, cluster_anchors(sizes_px, anchor_count(cfg), seed))
    new_px = heads_of(changed)[0].all_anchors_px.double().numpy()
    return changed, (measure_fit(old_px, sizes_px), measure_fit(new_px, sizes_px))


def head_changes(before: Cfg, after: Cfg) -> str:
    """What became of each head."""
    rows = [["head (layer)", "stride", "classes", "filters", "anchors, px"]]
    for old, new in zip(heads_of(before), heads_of(after), strict=True):
        pairs = "  ".join(f"{width:g}x{height:g}" for width, height in new.anchors_px.tolist())
        rows.append(
            [
                str(new.index),
                str(head_stride_px(after, new)),
                f"{old.nc} -> {new.nc}",
                f"{old.shape[0]} -> {new.shape[0]}",
                pairs,
            ]
        )
    height, width = input_shape(after)[1:]
    return table(rows, title=f"input {height}x{width}")


if __name__ == "__main__":
    run_main(main)
