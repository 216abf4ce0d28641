"""The command line of detect.py."""

from __future__ import annotations

from collections.abc import Sequence

from ...command.cli import Parser, add_device, add_img_size, img_size, positive_int, ratio
from ...detection.as_the_cfg_says import add_fit, add_nms
from ...detection.inputs import add_inputs, inputs_of
from ...detection.options import MAX_DET
from ..options import BACKENDS, backend_of
from .options import CONF_THRES, IOU_THRES, DetectOptions, Keep

_FIRST = (
    "--weights", "--source", "--data", "--cfg", "--conf-thres", "--iou-thres", "--img-size",
    "--output", "--save-txt", "--save-json", "--backend", "--device",
)  # fmt: skip


def read_options(doc: str | None, argv: Sequence[str] | None) -> DetectOptions:
    """What the flags ask for; `doc` is the text of --help."""
    args = make_parser(doc).parse_args(argv)
    return DetectOptions(
        inputs=inputs_of(args.cfg, args.weights, img_size(args.img_size)),
        source=args.source,
        names=args.names,
        output=args.output,
        project=args.project,
        name=args.name or "",
        conf_thres=args.conf_thres,
        iou_thres=args.iou_thres,
        max_det=args.max_det,
        nms=args.nms,
        fit=args.fit,
        backend=args.backend or backend_of(args.weights),
        device=args.device,
        threads=args.threads,
        batch_size=args.batch_size,
        keep=Keep(args.save_txt, args.save_json, args.view),
    )


def make_parser(doc: str | None) -> Parser:
    """Every flag with its default."""
    parser = Parser(doc, first=_FIRST)
    add = parser.add_argument
    add_inputs(parser)
    add(
        "--names",
        "--data",
        dest="names",
        help="class names, one a line, or a data set; left out, the model's own",
    )
    add("--source", required=True, help="picture, video, folder, pattern, list, camera or stream")
    add("--output", help="a new folder for the results (default: PROJECT/NAME)")
    add("--project", metavar="DIR", default="runs/detect", help="folder of such folders")
    add("--name", help="of the folder, -2, -3 ... where it is there; left out, the source's name")
    add("--conf-thres", type=ratio, default=CONF_THRES, help="least score that is shown")
    add("--iou-thres", type=ratio, default=IOU_THRES, help="overlap at which NMS drops a box")
    add("--max-det", type=positive_int, default=MAX_DET, help="detections per picture after NMS")
    add_nms(parser)
    add_fit(parser)
    add_img_size(parser)
    add("--save-txt", action="store_true", help="also write a label file per picture or frame")
    add("--save-json", action="store_true", help="also write detections.json")
    add("--view", action="store_true", help="show each picture in a window; q ends")
    add(
        "--backend", choices=BACKENDS, help="what runs the model; left out: by the file, else torch"
    )
    add_device(parser)
    add("--threads", type=positive_int, help="CPU threads of the forward pass")
    add("--batch-size", type=positive_int, default=8, help="pictures per forward pass")
    return parser
