"""Write an ultralytics YOLO checkpoint as cfg, weights and names; no ultralytics is needed.

    python translate.py --weights yolov8n.pt --output cfg/my.cfg --data my.data --bn-export native
    python translate.py --weights yolov8n.pt --output run/yolov8n.cfg --img_size 320
    python translate.py --cfg cfg/pruned.cfg --weights best.pt --output run/pruned.cfg --guard

The first is for the classes of a data set, to be trained and pruned here like any other cfg (the
last layers of the classes start anew where their number differs); the second, with powers of two in
its batch normalisation, runs alike in Darknet, OpenCV and here. With --cfg, --weights is a model
of this program instead, which is written for a runtime. The weights and the names of the classes
lie beside the cfg. A checkpoint is read as data: nothing in it is run. docs/yolov8.md tells more.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from models import Darknet
from utils.cfg import Cfg, load_cfg, read_note
from utils.cfg.strict import add_strict_darknet, strict_cfg
from utils.command.cli import Parser, add_img_size, img_size, run_main
from utils.command.errors import UserError
from utils.data.darknet_files import load_data_file
from utils.data.images import read_image
from utils.network.cost import count_parameters
from utils.network.layers import build_layers, input_shape
from utils.network.retarget import heads_of, with_img_size
from utils.translate.bn_export import BN_EXPORTS, for_export
from utils.translate.for_classes import for_classes
from utils.translate.guard import (
    DANGER,
    guarded,
    lowest_by_statistics,
    lowest_swish_inputs,
    sample_images,
)
from utils.translate.output import output_paths, write_all
from utils.translate.translation import translate_checkpoint
from utils.translate.writer import NAMES_NOTE, Translated
from utils.translate.yolo_head import with_yolo_heads

HEADS = ("raw", "yolo")
DEFAULT_SIDE_PX = 640
SAMPLE_SIDE_PX = 128  # deep values hardly depend on the size, the time does

logger = logging.getLogger("translate")


def build_parser() -> Parser:
    """The command's flags."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--weights", required=True, help="checkpoint of ultralytics (or, with --cfg, of ours)")
    add("--cfg", help="the cfg of --weights, where these are .weights or a checkpoint of ours")
    add("--output", required=True, metavar="FILE", help="the cfg to write; FILE.weights beside it")
    add("--data", help=".data file: the network is for its classes")
    add_img_size(parser)
    add(
        "--bn-export",
        choices=BN_EXPORTS,
        default="pow2",
        help="batch normalisation: native, for training and pruning here and for Darknet; pow2, "
        "scaled by powers of two so that no runtime's epsilon matters; fused into the kernels",
    )
    add(
        "--guard",
        action="store_true",
        help=f"add layers where sample images, or the statistics, drive a swish below {DANGER:g}: "
        "builds of Darknet with -Ofast make NaN of it",
    )
    add("--samples", nargs="+", metavar="IMAGE", help="images to look for such values on")
    add(
        "--head",
        choices=HEADS,
        default="raw",
        help="raw: any runtime, decoded by the caller; yolo: decoded inside AlexeyAB's Darknet, "
        "and nowhere else",
    )
    add("--force", action="store_true", help="replace existing files")
    add_strict_darknet(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> Path:
    """Write the files; returns the path of the cfg."""
    args = build_parser().parse_args(argv)
    outputs = output_paths(args.output, not args.data, args.force)
    size = img_size(args.img_size)
    found = load_ours(args, size) if args.cfg else load_theirs(args, size)
    if args.data:
        spec = load_data_file(args.data)
        found = for_classes(found, spec.names or [str(k) for k in range(spec.nc)])
    cfg, state = found.cfg, found.state
    deep = deep_layers(found, args)
    if args.guard:
        cfg, state = guarded(cfg, state, deep)
    elif deep:
        logger.warning(
            "%d layers may give their swish values below %g (lowest: %.0f): builds of Darknet "
            "with -Ofast, AlexeyAB's default, may answer NaN; --guard cures it, -O3 and other "
            "runtimes do not need it", len(deep), DANGER, min(deep.values()),
        )  # fmt: skip
    if args.head == "yolo":
        cfg, state = with_yolo_heads(cfg, state)
    cfg, state = for_export(cfg, state, args.bn_export)
    if args.strict_darknet:
        cfg = strict_cfg(cfg)
    written = write_all(cfg, state, found.names, outputs)
    print(summary(cfg, args, len(deep) if args.guard else 0))
    print("\n".join(f"Wrote {path}" for path in written))
    return outputs[0]


def load_theirs(args: argparse.Namespace, size: tuple[int, int] | None) -> Translated:
    """The network of a checkpoint of ultralytics."""
    found = translate_checkpoint(args.weights, size or (DEFAULT_SIDE_PX, DEFAULT_SIDE_PX))
    return Translated(checked_size(found.cfg, size), found.state, found.names)


def load_ours(args: argparse.Namespace, size: tuple[int, int] | None) -> Translated:
    """A model of this program, as it is."""
    cfg = checked_size(load_cfg(args.cfg), size)
    model = Darknet(cfg, weights=args.weights)
    names = read_note(cfg.net, NAMES_NOTE)
    known = isinstance(names, list) and len(names) == model.nc
    texts = tuple(str(name) for name in names) if known else tuple(map(str, range(model.nc)))
    return Translated(cfg, dict(model.state_dict()), texts)


def checked_size(cfg: Cfg, size: tuple[int, int] | None) -> Cfg:
    """The cfg at another input size. Raises UserError for one that the strides do not divide."""
    return cfg if size is None else with_img_size(cfg, size)


@torch.no_grad()
def deep_layers(found: Translated, args: argparse.Namespace) -> dict[int, float]:
    """Layer -> the lowest value before its swish, where that is below the danger line."""
    model = Darknet(found.cfg, weights=found.state).eval()
    side = -(-SAMPLE_SIDE_PX // model.stride) * model.stride
    images = [sample_images(side, side)]
    if args.samples:
        images = [load_sample(path, side) for path in args.samples]
    lowest = lowest_by_statistics(model.rules, found.state)
    for batch in images:
        for index, value in lowest_swish_inputs(model.rules, list(model.layers), batch).items():
            lowest[index] = min(value, lowest.get(index, 0.0))
    return {index: value for index, value in lowest.items() if value < DANGER}


def load_sample(path: str, side: int) -> Tensor:
    """(1, 3, side, side) in 0..1. Raises UserError for a file that is no image."""
    try:
        pixels = read_image(Path(path))
    except (OSError, ValueError) as error:
        raise UserError(f"--samples {path}: {error}") from None
    picture = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    return torch.nn.functional.interpolate(picture, (side, side), mode="bilinear", antialias=True)


def summary(cfg: Cfg, args: argparse.Namespace, guards: int) -> str:
    """What was written, and what it is for."""
    layers = build_layers(cfg)
    height, width = input_shape(cfg)[1:]
    lines = [
        f"{len(layers)} layers, {count_parameters(layers):,} parameters, "
        f"{heads_of(cfg)[-1].nc} classes, {width}x{height}"
        + (f", {guards} guards" if guards else "")
    ]
    if args.bn_export != "native":
        lines.append(
            f"batch normalisation: {args.bn_export}, for runtimes; translate with "
            "--bn-export native what is to be trained or pruned"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run_main(main)
