"""Write a copy of a cfg for the classes of a data set and, on request, for the sizes of its boxes.

Examples:
    python make_cfg.py --cfg cfg/yolov3-spp.cfg --data data/my.data
    python make_cfg.py --cfg cfg/yolov3-tiny.cfg --data data/my.data --anchors --img-size 320
    python make_cfg.py --cfg cfg/my.cfg --data data/my.data --replace-activation mish=leaky
    python make_cfg.py --cfg yolo11n --data data/my.data

The copy lies beside the source as NAME-DATA.cfg (cfg/yolov3-spp-my.cfg). Every head gets classes=
and the convolution before it the filters= to match. --anchors replaces the anchors by k-means over
the training boxes at the network's size, the largest for the head with the largest stride. --fit
sets letter_box in [net], which train.py, val.py and Darknet go by. --replace-activation puts one
activation in another's place, for a runtime that lacks it or is slow at it: the same weights fit,
and are finetuned with the network before as their teacher. --for TARGET says what the copy meets
there. All else stays, comments included. yolov8, yolov10, yolo11, yolo12 and yolo26 with their
sizes n, s, m, l, x (and yolov10b) are also names: these are written anew, with class branches as
wide as the classes ask for.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from utils.annotations.ready import ready_data
from utils.cfg import load_cfg, save_cfg
from utils.cfg.strict import add_strict_darknet, strict_cfg
from utils.command.cli import DATA_SET, Parser, add_img_size, img_size, run_main, seed
from utils.command.errors import UserError
from utils.command.files import alone
from utils.command.words.next_step import Words, next_steps
from utils.data.darknet_files import DataSpec, load_data_file
from utils.detection.as_the_cfg_says import add_fit, chosen_fit
from utils.runtimes.targets.names import TARGETS
from utils.zoo.by_classes import for_so_many, fresh_cfg, source_path


def build_parser() -> Parser:
    """The command's flags."""
    parser = Parser(__doc__)
    parser.add_argument("--cfg", required=True, help="the cfg to copy, or a name as yolo11n")
    parser.add_argument("--data", required=True, help=DATA_SET)
    parser.add_argument("--output", metavar="FILE", help="where the copy goes")
    parser.add_argument("--anchors", action="store_true", help="find anchors for the data set")
    add_img_size(parser)
    add_fit(parser)
    parser.add_argument(
        "--replace-activation",
        nargs="+",
        type=_replacement,
        default=[],
        metavar="OLD=NEW",
        help="put one activation in the place of another in every layer: mish=leaky",
    )
    parser.add_argument("--for", dest="target", choices=TARGETS, help="what is to run it")
    add_strict_darknet(parser)
    parser.add_argument("--seed", type=seed, default=0, help="of the k-means starts")
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    return parser


def _replacement(text: str) -> tuple[str, str]:
    old, sign, new = text.partition("=")
    if not (old and sign and new):
        raise argparse.ArgumentTypeError(f"must be OLD=NEW, as in mish=leaky, got '{text}'")
    return old, new


def main(argv: Sequence[str] | None = None) -> Path:
    """Write the copy; returns its path."""
    args = build_parser().parse_args(argv)
    source, data = source_path(args.cfg), load_data_file(ready_data(args.data))
    output = Path(args.output or source.with_name(f"{source.stem}-{data.source.stem}.cfg"))
    if not output.parent.is_dir():
        raise UserError(f"--output {output}: {output.parent} is no folder")
    with alone(output):
        return _write(args, data, output)


def _write(args: argparse.Namespace, data: DataSpec, output: Path) -> Path:
    size, source = img_size(args.img_size), source_path(args.cfg)
    if output.exists() and not args.force:
        raise UserError(f"{output}: is there already; name another with --output or use --force")
    before = load_cfg(source) if source.is_file() else fresh_cfg(source)
    fit = chosen_fit(args.fit, before)
    from utils.describe.heads import head_changes
    from utils.describe.network import print_cfg_for
    from utils.network.for_data.retarget import (
        with_activation,
        with_classes,
        with_fit,
        with_img_size,
        with_title,
    )
    from utils.network.layers import build_layers
    from utils.network.two_sets import two_sets_line

    after = with_classes(for_so_many(before, data.nc), data.nc)
    if size:
        after = with_img_size(after, size)
    after = with_fit(after, fit)
    for old, new in args.replace_activation:
        after = with_activation(after, old, new)
    worth = ""
    if args.anchors:
        from utils.network.for_data.anchors import fit_anchors, fit_lines

        after, fits = fit_anchors(after, data.require("train"), fit, args.seed)
        worth = fit_lines(*fits) + "\n"
    how = f"{data.nc} classes" + (", anchors by k-means" if args.anchors else "")
    titled = with_title(after, [f"{source.name} for {data.source.name}: {how} (make_cfg.py)"])
    strict = args.strict_darknet or args.target == "darknet"
    written = strict_cfg(titled) if strict else titled
    changes = head_changes(before, after)  # reads the copy as a network: before it is written
    save_cfg(written, output)
    about = two_sets_line(build_layers(after))
    print(f"{changes}\n{worth}{about and about + chr(10)}written: {output}")
    if args.target:
        print_cfg_for(written, args.target)
    train: Words = ["python", "train.py", "--cfg", output, "--data", args.data, "--name", "base"]
    steps = {"train it": train}
    if args.replace_activation:
        taught: Words = ["--weights", "WEIGHTS", "--t-cfg", source, "--t-weights", "WEIGHTS"]
        steps = {f"train the weights of {source} for it, taught by it": [*train, *taught]}
    print(next_steps(steps))
    return output


if __name__ == "__main__":
    run_main(main)
