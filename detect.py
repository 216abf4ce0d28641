"""Show what a model detects: pictures and videos with boxes drawn, label files, JSON.

    python detect.py --cfg cfg/my.cfg --weights weights/best.pt --data data/my.data --source photos/
    python detect.py --cfg cfg/my.cfg --weights my.weights --names data/my.names --source film.mp4
    python detect.py --cfg cfg/my.cfg --weights my.weights --source 0 --backend opencv

--source is a picture, a video, a folder of them, a pattern ('photos/*.jpg', in quotes), a list
(.txt, a path per line), a camera's number, or a stream's URL. A picture gives a picture, a video a
video with as many frames. What cannot be read is reported and skipped. Ctrl-C ends a camera or
stream; what it gave until then stays.

--names is a file with one class name per line (or a .data file); without it, classes are numbers.
--save-txt writes a line per box: class, centre and size in shares of the picture, score.
--save-json writes all boxes, in pixels, with the times, into detections.json.
Images are fitted, and boxes suppressed, as the cfg says (--fit, --nms overrule it).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2

from models import Darknet
from utils.command.cli import (
    Parser,
    add_device,
    add_img_size,
    img_size,
    positive_int,
    ratio,
    run_main,
)
from utils.command.device import pick_device
from utils.command.errors import UserError
from utils.command.folders import first_free, require_free
from utils.data.darknet_files import load_data_file, load_names
from utils.detection.as_the_cfg_says import add_fit, add_nms, chosen_fit, chosen_nms
from utils.detection.detector import DetectOptions, Detector
from utils.detection.options import MAX_DET
from utils.detection.run import Keep, Run, Tally, require_window
from utils.detection.sources import find_sources
from utils.runtimes.choose import BACKENDS, open_backend


def build_parser() -> Parser:
    """The command's flags."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--cfg", required=True, help="structure of the model")
    add("--weights", required=True, help=".weights or .pt file")
    add("--names", "--data", dest="names", help="class names, one per line, or a .data file")
    add("--source", required=True, help="picture, video, folder, pattern, list, camera or stream")
    add("--output", help="folder for the results (default: runs/detect/ and the source's name)")
    add("--conf-thres", type=ratio, default=0.25, help="least score that is shown")
    add("--iou-thres", type=ratio, default=0.45, help="overlap at which NMS drops a box")
    add("--max-det", type=positive_int, default=MAX_DET, help="detections per picture after NMS")
    add_nms(parser)
    add_fit(parser)
    add_img_size(parser)
    add("--save-txt", action="store_true", help="also write a label file per picture or frame")
    add("--save-json", action="store_true", help="also write detections.json")
    add("--view", action="store_true", help="show each picture in a window; q ends")
    add("--backend", choices=BACKENDS, default="torch", help="what runs the model")
    add_device(parser)
    add("--threads", type=positive_int, help="CPU threads of the forward pass")
    return parser


def main(argv: Sequence[str] | None = None) -> Tally:
    """Run the command and return what it did."""
    args = build_parser().parse_args(argv)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # our own line says it
    sources = find_sources(args.source)
    folder = output_folder(args)
    if args.view:
        require_window()
    model = Darknet(args.cfg, img_size=img_size(args.img_size))
    names = class_names(args.names, model)
    device = pick_device(args.device if args.backend == "torch" else "cpu")
    predict = open_backend(args.backend, model, args.weights, device, args.threads)
    options = DetectOptions(
        img_size=model.img_size,
        fit=chosen_fit(args.fit, model.cfg),
        nms_kind=chosen_nms(args.nms, model.heads[-1].section),
        conf_thres=args.conf_thres,
        iou_thres=args.iou_thres,
        max_det=args.max_det,
        device=device,
    )
    keep = Keep(args.save_txt, args.save_json, args.view)
    detector = Detector(predict, options)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        tally = Run(detector, folder, names, keep).all(sources)
    except (UserError, KeyboardInterrupt):
        if not any(folder.iterdir()):
            folder.rmdir()
        raise
    print(tally.table(names))
    print(f"Results: {folder}")
    return tally


def output_folder(args: argparse.Namespace) -> Path:
    """A free folder. Raises UserError when the one that the user names holds files."""
    if args.output:
        return require_free(args.output, "--output")
    stem = "".join(c if c.isalnum() else "-" for c in Path(args.source).stem).strip("-")
    return first_free(Path("runs/detect") / (stem[:60] or "all"))


def class_names(path: str | None, model: Darknet) -> tuple[str, ...]:
    """A name per class of the model. Raises UserError when their counts differ."""
    if path is None:
        return tuple(str(number) for number in range(model.nc))
    named = Path(path).suffix == ".data"
    names = load_data_file(path).names if named else load_names(path)
    if len(names) != model.nc:
        raise UserError(
            f"{path}: has {len(names)} names, but {model.cfg.source} is made for {model.nc} classes"
        )
    return names


if __name__ == "__main__":
    run_main(main)
