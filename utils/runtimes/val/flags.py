"""The command line of val.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from ...command.cli import (
    DATA_SET,
    Parser,
    add_device,
    add_img_size,
    add_workers,
    img_size,
    positive_int,
    ratio,
)
from ...detection.as_the_cfg_says import add_fit, add_nms
from ...detection.inputs import add_inputs, inputs_of
from ...detection.options import CONF_THRES, IOU_THRES, MAX_DET, Rules, Scoring
from ..options import BACKENDS, backend_of
from .options import Amp, Task, ValOptions

_FIRST = (
    "--weights", "--data", "--cfg", "--task", "--img-size", "--batch-size", "--backend", "--device",
    "--plots", "--save-json",
)  # fmt: skip


def read_options(doc: str | None, argv: Sequence[str] | None) -> ValOptions:
    """What the flags ask for; `doc` is the text of --help. Raises UserError as `ValOptions`."""
    args = make_parser(doc).parse_args(argv)
    return ValOptions(
        inputs=inputs_of(args.cfg, args.weights, img_size(args.img_size)),
        scoring=Scoring(
            data=args.data,
            fit=args.fit,
            nms=args.nms,
            batch_size=args.batch_size,
            workers=args.workers,
            device=args.device,
            rules=args.rules,
        ),
        task=args.task,
        conf_thres=args.conf_thres,
        iou_thres=args.iou_thres,
        max_det=args.max_det,
        backend=args.backend or backend_of(args.weights),
        half=args.half,
        amp=args.amp,
        threads=args.threads,
        save_json=args.save_json,
        plots=args.plots,
        strict=args.strict,
    )


def make_parser(doc: str | None) -> Parser:
    """Every flag with its default."""
    parser = Parser(doc, first=_FIRST)
    add = parser.add_argument
    add_inputs(parser)
    add("--data", required=True, help=DATA_SET)
    add(
        "--task",
        type=lambda text: "valid" if text == "val" else text,
        choices=get_args(Task),
        default="valid",
        help="which list of the data set",
    )
    add_img_size(parser)
    add("--batch-size", type=positive_int, default=16, help="images per forward pass")
    add("--conf-thres", type=ratio, default=CONF_THRES, help="least score that counts")
    add("--iou-thres", type=ratio, default=IOU_THRES, help="overlap at which NMS drops a box")
    add("--max-det", type=positive_int, default=MAX_DET, help="detections per image after NMS")
    add_nms(parser)
    add_fit(parser)
    add(
        "--rules",
        choices=get_args(Rules),
        default="coco",
        help="how images are fed and mAP is counted: as pycocotools does, in the original images; "
        "or as ultralytics' own val(rect=False), a few thousandths higher or lower (give both the "
        "same --iou-thres: there .7)",
    )
    add(
        "--backend", choices=BACKENDS, help="what runs the model; left out: by the file, else torch"
    )
    add("--save-json", metavar="FILE", help="write detections in COCO's format")
    add("--plots", metavar="FOLDER", help="draw curves, confusion matrix, labels and detections")
    add_device(parser)
    add("--half", action="store_true", help="weights and images in float16 (GPU only)")
    add("--amp", choices=get_args(Amp), default="off", help="automatic mixed precision")
    add_workers(parser)
    add("--threads", type=positive_int, help="CPU threads of the forward pass")
    add("--strict", action="store_true", help="problems in the data are errors, not warnings")
    return parser
