"""The command line of export.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from ...command.cli import DATA_SET, Parser, add_img_size, img_size, positive_int, ratio, seed
from ...command.errors import UserError
from ...detection.as_the_cfg_says import add_fit
from ...detection.inputs import add_inputs, inputs_of
from ..onnx.layout_names import Layout
from ..options import CHIPS, FORMATS, PAIRS, THEIRS, NmsOptions
from ..other_python import LIBRARIES, flag_of
from .options import ExportOptions

_FIRST = (
    "--weights", "--format", "--data", "--cfg", "--output", "--img-size", "--half", "--int8",
    "--nms", "--layout", "--dynamic", "--force",
)  # fmt: skip


def read_options(doc: str | None, argv: Sequence[str] | None) -> ExportOptions:
    """What the flags ask for; `doc` is the text of --help. Raises UserError as `ExportOptions`."""
    args = make_parser(doc).parse_args(argv)
    named = {kind: getattr(args, f"{kind}_python") for kind in THEIRS}
    for kind, python in named.items():
        if python and kind != args.format:
            raise UserError(f"{flag_of(kind)} is for --format {kind}")
    return ExportOptions(
        inputs=inputs_of(args.cfg, args.weights, img_size(args.img_size)),
        format=args.format,
        output=args.output,
        data=args.data or "",
        fit=args.fit,
        dynamic=args.dynamic,
        half=args.half,
        int8=args.int8,
        calibration_images=args.calibration_images,
        seed=args.seed,
        nms=NmsOptions(args.conf_thres, args.iou_thres) if args.nms else None,
        layout=args.layout,
        force=args.force,
        python=named.get(args.format) or "",
        chip=args.chip,
    )


def make_parser(doc: str | None) -> Parser:
    """Every flag with its default."""
    parser, nms = Parser(doc, first=_FIRST), NmsOptions()
    add = parser.add_argument
    add_inputs(parser)
    add("--format", choices=(*PAIRS, *FORMATS, *THEIRS), default="onnx", help="for which runtime")
    add("--output", metavar="STEM", help="where the files go: a path without its suffix")
    add("--data", help=f"names, images to check with and to calibrate on: {DATA_SET}")
    add_img_size(parser)
    add_fit(parser)
    add("--dynamic", action="store_true", help="any batch and image size (onnx, openvino)")
    add("--half", action="store_true", help="weights in float16")
    add("--int8", action="store_true", help="8 bits, calibrated on --data (not ncnn)")
    add(
        "--calibration-images",
        type=positive_int,
        default=100,
        metavar="N",
        help="for --int8, espdl",
    )
    add("--seed", type=seed, default=0, help="which images of --data it calibrates on")
    add("--nms", action="store_true", help="end the graph with NMS by IoU (onnx)")
    add("--conf-thres", type=ratio, default=nms.conf_thres, help="of --nms")
    add("--iou-thres", type=ratio, default=nms.iou_thres, help="of --nms")
    add(
        "--layout",
        choices=get_args(Layout),
        default="rows",
        help="how the boxes of an onnx file lie, for ready-made decoders",
    )
    for kind, library in LIBRARIES.items():
        add(
            flag_of(kind),
            metavar="PATH",
            help=f"for {kind}: the interpreter of an environment that has {library.module}; left "
            "out, this one",
        )
    add("--chip", choices=CHIPS, help=f"for espdl; left out, {CHIPS[0]}")
    add("--force", action="store_true", help="replace files of an earlier export")
    return parser
