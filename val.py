"""Score a model on a data set: one row per class, and where the time went.

    python val.py --cfg cfg/my.cfg --data data/my.data --weights weights/best.pt
    python val.py --cfg cfg/my.cfg --data data/my.data --weights weights/my.weights --backend opencv

    --img_size 320 512 scores at another height and width, --save-json found.json keeps detections.
    --fit letterbox and --nms default overrule the cfg, which train.py and the prune scripts go by.

P and R are those at each class's best F1 (IoU .5). mAP is COCO's: 101 points, at most 100
detections per image and class, compared in the original images. Detections count from a very low
confidence on, as mAP needs the whole curve; keep it so, or figures cannot be compared.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch
from torch import Tensor

from models import Darknet
from utils.command.cli import (
    Parser,
    add_device,
    add_img_size,
    add_workers,
    img_size,
    positive_int,
    ratio,
    run_main,
)
from utils.command.device import pick_device
from utils.command.errors import UserError
from utils.command.files import atomic_write
from utils.data.darknet_files import load_data_file
from utils.data.dataset import DetectionDataset
from utils.data.loader import make_loader
from utils.detection.as_the_cfg_says import add_fit, add_nms, chosen_fit, chosen_nms
from utils.detection.evaluate import Collected, EvalOptions, Metrics, Predict, collect, measure
from utils.detection.options import CONF_THRES, IOU_THRES, MAX_DET, NmsKind
from utils.runtimes.choose import BACKENDS, open_backend

AMP_DTYPES = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--cfg", required=True, help="structure of the model")
    add("--data", required=True, help=".data file: classes, lists of images, names")
    add("--weights", required=True, help=".weights or .pt file")
    add("--task", choices=("valid", "train"), default="valid", help="which list of the .data file")
    add_img_size(parser)
    add("--batch-size", type=positive_int, default=16, help="images per forward pass")
    add("--conf-thres", type=ratio, default=CONF_THRES, help="least score that counts")
    add("--iou-thres", type=ratio, default=IOU_THRES, help="overlap at which NMS drops a box")
    add("--max-det", type=positive_int, default=MAX_DET, help="detections per image after NMS")
    add_nms(parser)
    add_fit(parser)
    add("--backend", choices=BACKENDS, default="torch", help="what runs the model")
    add("--save-json", metavar="FILE", help="write detections in COCO's format")
    add_device(parser)
    add("--half", action="store_true", help="weights and images in float16 (GPU only)")
    add("--amp", choices=tuple(AMP_DTYPES), default="off", help="automatic mixed precision")
    add_workers(parser)
    add("--threads", type=positive_int, help="CPU threads of the forward pass")
    add("--strict", action="store_true", help="problems in the data are errors, not warnings")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> Metrics:
    """Run the command and return what it prints."""
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
        cv2.setNumThreads(args.threads)
    if args.save_json and not Path(args.save_json).resolve().parent.is_dir():
        raise UserError(f"--save-json {args.save_json}: its folder does not exist")
    spec = load_data_file(args.data)
    model = Darknet(args.cfg, img_size=img_size(args.img_size))
    if model.nc != spec.nc:
        raise UserError(
            f"{args.cfg}: is made for {model.nc} classes, but {args.data} has {spec.nc}; "
            "make_cfg.py writes a cfg for a data set"
        )
    options = eval_options(args, chosen_nms(args.nms, model.heads[-1].section))
    predict = (
        torch_predict(model, args, options)
        if args.backend == "torch"
        else runtime_predict(model, args)
    )
    fit = chosen_fit(args.fit, model.cfg)
    dataset = DetectionDataset(
        spec.require(args.task), spec.nc, model.img_size, fit=fit, strict=args.strict
    )
    collected = collect(
        predict, make_loader(dataset, args.batch_size, args.workers), spec.nc, options
    )
    metrics = measure(collected, spec.nc, spec.names)
    print(metrics.table())
    print(times_line(metrics))
    if args.save_json:
        write_json(args.save_json, collected, dataset)
    return metrics


def eval_options(args: argparse.Namespace, nms_kind: NmsKind) -> EvalOptions:
    """Thresholds, device and precision. Raises UserError for --half without a GPU."""
    device = pick_device(args.device if args.backend == "torch" else "cpu")
    if args.half and device.type == "cpu":
        raise UserError("--half needs a GPU; on a CPU use --amp bf16")
    return EvalOptions(
        conf_thres=args.conf_thres,
        iou_thres=args.iou_thres,
        max_det=args.max_det,
        nms_kind=nms_kind,
        device=device,
        dtype=torch.float16 if args.half else torch.float32,
        channels_last=args.backend == "torch",
    )


def torch_predict(model: Darknet, args: argparse.Namespace, options: EvalOptions) -> Predict:
    """The model with its weights, fused, on the device; under autocast when asked."""
    model.load_weights(args.weights).eval().fuse()
    model.to(options.device, options.dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    amp_dtype = AMP_DTYPES[args.amp]
    device_type = torch.device(options.device).type

    def predict(images: Tensor) -> Tensor:
        with torch.autocast(device_type, amp_dtype, enabled=amp_dtype is not None):
            boxes: Tensor = model(images)
        return boxes

    return predict


def runtime_predict(model: Darknet, args: argparse.Namespace) -> Predict:
    """The files as another runtime runs them, OpenCV's epsilon included: what users will get."""
    if args.half or args.amp != "off":
        raise UserError(f"--half and --amp are for --backend torch; {args.backend} runs float32")
    return open_backend(args.backend, model, args.weights, torch.device("cpu"), args.threads)


def times_line(metrics: Metrics) -> str:
    """Milliseconds per image of each part."""
    seconds, images = metrics.seconds, max(metrics.images, 1)
    parts = {
        "waiting for images": seconds.data,
        "forward": seconds.forward,
        "NMS": seconds.nms,
        "metrics": seconds.metrics,
    }
    shown = ", ".join(f"{name} {1e3 * value / images:.2f}" for name, value in parts.items())
    return f"ms per image: {shown}"


def write_json(path: str, collected: Collected, dataset: DetectionDataset) -> None:
    """Detections as COCO's result format; category_id is the class's line in the names, from 0.

    image_id is the number that the file is named by, where all are (as in COCO), else the image's
    position in the list, from 1; `file_name` stands beside it in any case.
    """
    paths = [sample.path for sample in dataset.samples]
    numbered = all(p.stem.isascii() and p.stem.isdigit() for p in paths)
    found = collected.detections
    columns = (
        found.image.tolist(),
        found.label.tolist(),
        found.xyxy.tolist(),
        found.score.tolist(),
    )
    rows = [
        {
            "image_id": int(paths[image].stem) if numbered else image + 1,
            "file_name": paths[image].name,
            "category_id": label,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for image, label, (x1, y1, x2, y2), score in zip(*columns, strict=True)
    ]
    with atomic_write(Path(path)) as temporary:
        temporary.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    run_main(main)
