"""Write an ultralytics YOLO checkpoint as cfg, weights and names; no ultralytics is needed.

    python translate.py --weights yolov8n.pt --output cfg/my.cfg --data my.data --bn-export native
    python translate.py --weights yolov8n.pt --output run/yolov8n.cfg --img-size 320
    python translate.py --cfg cfg/pruned.cfg --weights best.pt --output run/pruned.cfg --guard

The first is for the classes of a data set, to be trained and pruned here like any other cfg (the
last layers of the classes start anew where their number differs); the second, with powers of two in
its batch normalisation, runs alike in Darknet, OpenCV and here. With --cfg, --weights is a model
of this program instead, which is written for a runtime. The weights and the names of the classes
lie beside the cfg. A checkpoint is read as data: nothing in it is run. docs/yolov8.md tells more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from utils.annotations.ready import with_ready_data
from utils.cfg.strict import add_strict_darknet
from utils.command.cli import DATA_SET, Parser, add_img_size, img_size, run_main
from utils.command.files import require_file
from utils.data.darknet_files import read_data_text
from utils.detection.inputs import require_inputs
from utils.translate.options import BN_EXPORTS, DANGER, HEAD_FORMS, TranslateOptions, output_paths


def build_parser() -> Parser:
    """The command's flags."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--weights", required=True, help="checkpoint of ultralytics (or, with --cfg, of ours)")
    add("--cfg", help="the cfg of --weights, where these are .weights or a checkpoint of ours")
    add("--output", required=True, metavar="FILE", help="the cfg to write; FILE.weights beside it")
    add("--data", help=f"the network is for the classes of this data set: {DATA_SET}")
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
        choices=HEAD_FORMS,
        default="raw",
        help="raw: any runtime, decoded by the caller; yolo: decoded inside AlexeyAB's Darknet, "
        "and nowhere else; of YOLOv10 and YOLO26, which have two sets of branches, one2many (for "
        "NMS, raw takes these as their own program does), one2one (needs no NMS), or both, to be "
        "trained together: one2one answers. With --cfg, what only trains is left out, but for both",
    )
    add("--force", action="store_true", help="replace existing files")
    add_strict_darknet(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> Path:
    """Write the files; returns the path of the cfg."""
    options = read_options(argv)
    output_paths(options.output, not options.data, options.force)
    if options.cfg:
        require_inputs(options.cfg, options.weights)
    else:
        require_file(options.weights, "the checkpoint")
    if options.data:
        options = with_ready_data(options)
        read_data_text(Path(options.data))
    from models import Darknet
    from utils.translate.run import write_translated

    return write_translated(options, Darknet)


def read_options(argv: Sequence[str] | None = None) -> TranslateOptions:
    """What the flags ask for; argv None: those of this process."""
    args = build_parser().parse_args(argv)
    return TranslateOptions(
        weights=args.weights,
        output=args.output,
        cfg=args.cfg or "",
        data=args.data or "",
        img_size=img_size(args.img_size),
        bn_export=args.bn_export,
        head=args.head,
        guard=args.guard,
        samples=tuple(args.samples or ()),
        strict_darknet=args.strict_darknet,
        force=args.force,
    )


if __name__ == "__main__":
    run_main(main)
