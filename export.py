"""Export a model for another runtime: ONNX, OpenVINO or ncnn; in float32, float16 or int8.

    python export.py --cfg cfg/my.cfg --weights weights/best.pt --format onnx --data data/my.data
    python export.py --cfg cfg/my.cfg --weights weights/best.pt --format openvino --half
    python export.py --cfg cfg/my.cfg --weights weights/best.pt --format onnx --int8 --data my.data

The result lies beside the weights (best.onnx; best.xml and best.bin; best.ncnn.param, .bin, .json)
or where --output says. The graph takes `images` (B, 3, H, W), RGB in 0..1, and gives `predictions`
(B, N, 5 + classes): box centre and size in input pixels, objectness, class probabilities. Class
names, anchors and preprocessing are in the file. ncnn's files end before the decoding.

Before the files are put in place, their own runtime runs them on real images (of --data, else on
docs/demo.png), and the results are compared with PyTorch's: float32 within 1e-3, float16 within
2e-2, the same detections. --int8 calibrates on training images of --data and prints the mAP of
float32 and int8 instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from terminaltables import AsciiTable

from models import Darknet
from utils.command.cli import Parser, add_img_size, img_size, positive_int, ratio, run_main
from utils.command.errors import UserError
from utils.command.optional import INT8_NEEDS, NEEDS, require
from utils.data.darknet_files import DataSpec, load_data_file, load_list
from utils.data.options import Fit
from utils.detection.as_the_cfg_says import add_fit, chosen_fit, chosen_nms
from utils.detection.evaluate import Predict
from utils.detection.options import Scoring
from utils.detection.score import score
from utils.runtimes.choose import torch_backend
from utils.runtimes.export_model import (
    FORMATS,
    Exported,
    ExportOptions,
    NmsOptions,
    export_model,
    open_exported,
    target_files,
)
from utils.runtimes.onnx.export import onnx_metadata
from utils.runtimes.real_images import Images, calibration_inputs, network_inputs

CHECKED_IMAGES = 4
ROOT = Path(__file__).resolve().parent
EXAMPLE = ROOT / "docs" / "demo.png"


def build_parser() -> Parser:
    """The command's flags."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--cfg", required=True, help="structure of the model")
    add("--weights", required=True, help=".weights or .pt file")
    add("--format", choices=FORMATS, default="onnx", help="for which runtime")
    add("--output", metavar="STEM", help="where the files go: a path without its suffix")
    add("--data", help=".data file: class names, real images to check with and to calibrate on")
    add_img_size(parser)
    add_fit(parser)
    add("--dynamic", action="store_true", help="any batch and image size (onnx, openvino)")
    add("--half", action="store_true", help="weights in float16")
    add("--int8", action="store_true", help="8 bits, calibrated on --data (onnx, openvino)")
    add("--calibration-images", type=positive_int, default=100, metavar="N", help="for --int8")
    add("--nms", action="store_true", help="end the graph with NMS by IoU (onnx)")
    add("--conf-thres", type=ratio, default=0.25, help="of --nms")
    add("--iou-thres", type=ratio, default=0.45, help="of --nms")
    add("--force", action="store_true", help="replace files of an earlier export")
    return parser


def main(argv: Sequence[str] | None = None) -> Exported:
    """Run the command; returns the files and how they compare."""
    args = build_parser().parse_args(argv)
    check_flags(args)
    stem = output_stem(args)
    model = Darknet(args.cfg, img_size=img_size(args.img_size))
    spec = load_data_file(args.data) if args.data else None
    if spec and spec.nc != model.nc:
        raise UserError(f"{args.data}: has {spec.nc} classes, but {args.cfg} is for {model.nc}")
    fit = chosen_fit(args.fit, model.cfg)
    model.load_weights(args.weights)
    checks = network_inputs(checked_images(spec), model.img_size, fit)
    if not checks:
        raise UserError(f"{args.data}: none of the first images of its list opens")
    calibration: Images = ()
    if args.int8 and spec:
        calibration = calibration_inputs(spec, args.calibration_images, model.img_size, fit)
    options = ExportOptions(
        kind=args.format,
        img_size=model.img_size,
        dynamic=args.dynamic,
        half=args.half,
        calibration=calibration,
        nms=NmsOptions(args.conf_thres, args.iou_thres, 300) if args.nms else None,
    )
    names = spec.names if spec else [str(k) for k in range(model.nc)]
    metadata = onnx_metadata(model, names, fit)
    kind = chosen_nms("cfg", model.heads[-1].section)
    done = export_model(model, stem, options, metadata, checks, kind)
    print(f"{args.format} against PyTorch on {len(checks)} images: {done.agreement}")
    for path in done.files:
        print(f"written: {path} ({path.stat().st_size:,} bytes)")
    if calibration and spec:
        print(score_table(args, model, stem, spec, fit))
    return done


def check_flags(args: argparse.Namespace) -> None:
    """Raise UserError for flags that do not go together, and for what is not installed."""
    if args.int8 and not args.data:
        raise UserError("--int8 calibrates on real images: name a data set with --data")
    if args.int8 and (args.half or args.dynamic or args.nms):
        raise UserError("--int8 does not go with --half, --dynamic or --nms")
    if args.format == "ncnn" and (args.int8 or args.dynamic):
        raise UserError("--format ncnn knows neither --int8 nor --dynamic here")
    if args.nms and (args.format != "onnx" or args.half):
        raise UserError("--nms is for --format onnx in float32")
    require(INT8_NEEDS[args.format] if args.int8 else NEEDS[args.format], f"--format {args.format}")


def output_stem(args: argparse.Namespace) -> Path:
    """Where the files go. Raises UserError when some are there already, without --force."""
    suffix = "-int8" if args.int8 else "-half" if args.half else ""
    weights = Path(args.weights)
    stem = Path(args.output) if args.output else weights.with_name(weights.stem + suffix)
    there = [path for path in target_files(stem, args.format) if path.exists()]
    if there and not args.force:
        raise UserError(f"{there[0]}: is there already; name another --output, or use --force")
    return stem


def checked_images(spec: DataSpec | None) -> list[Path]:
    """The first images of the validation list, or of the training list, or our own picture."""
    if spec is None:
        return [EXAMPLE]
    entries = load_list(spec.valid or spec.require("train"))
    return [path for _, path in entries[:CHECKED_IMAGES]]


def score_table(
    args: argparse.Namespace, model: Darknet, stem: Path, spec: DataSpec, fit: Fit
) -> str:
    """The mAP of the float32 model in PyTorch, and of the int8 file in its runtime."""
    how = Scoring(fit=fit, batch_size=8, workers=0)
    runs: list[tuple[str, Predict]] = [
        (f"int8 ({args.format})", open_exported(args.format, stem, model)),
        ("float32 (PyTorch)", torch_backend(model)),
    ]
    rows = [["model", "mAP@.5", "mAP@.5:.95"]]
    for name, predict in reversed(runs):
        found = score(predict, spec, model, how)
        rows.append([name, f"{found.map50:.4f}", f"{found.map:.4f}"])
    table = AsciiTable(rows)
    table.justify_columns = {1: "right", 2: "right"}
    return str(table.table)


if __name__ == "__main__":
    run_main(main)
