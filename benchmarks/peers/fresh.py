"""Checkpoints of all families and what they compute: run by the interpreter that has ultralytics.

.venv-peers/bin/python benchmarks/peers/fresh.py --output runs/families yolov3-tiny yolo11n

Each network is built from the library's own description, gets random weights with varied gammas and
measured statistics, and is saved by the library. NAME.npz beside NAME.pt holds what the file that
was written computes in float64, on one picture: `input` (uint8 H, W, 3), `raw_0`, `raw_1`, ...
(4 * reg_max + nc, h, w) of each level, `one2one_0`, ... of the second set of heads, and
`own_error`: how far its float32 is from that. What is there already is not made again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

NAMES = ("yolov3-tiny", "yolov5n", "yolov6n", "yolov8n", "yolov8n-ghost", "yolov8n-p6", "yolov9t",
         "yolov10n", "yolo11n", "yolo12n", "yolo26n")  # fmt: skip
_PICTURES, _SIDES = 12, (256, 320)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=NAMES, help="descriptions of the library")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--run", nargs="*", type=Path, default=(), help="checkpoints to run alone")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for name in args.names:
        path = args.output / f"{name}.pt"
        if not path.exists():
            write(name, path, args.classes)
    for path in (*(args.output / f"{name}.pt" for name in args.names), *args.run):
        truth = args.output / f"{path.stem}.npz"
        if not truth.exists():
            np.savez(truth, **computed(path))
            print(truth, flush=True)


def write(name: str, path: Path, classes: int) -> None:
    """A checkpoint of random weights that a signal passes through.

    As the library draws them, variances fall to its epsilon, and rounding grows a thousandfold;
    so it does where statistics are those of one picture.
    """
    torch.manual_seed(0)
    yolo = YOLO(f"{name}.yaml", task="detect")
    model = DetectionModel(f"{name}.yaml", nc=classes, verbose=False)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.requires_grad:
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        torch.nn.init.uniform_(norm.weight, 0.6, 1.4)
        torch.nn.init.normal_(norm.bias, 0.0, 0.2)
        norm.reset_running_stats()
        norm.momentum = 1.0
    model.train()
    with torch.no_grad():
        model(torch.cat([pixels(picture(number)) for number in range(_PICTURES)]))
    for norm in norms:
        norm.momentum = 0.03
    yolo.model = model
    yolo.save(str(path))


def picture(seed: int) -> Any:
    """(H, W, 3) uint8: coloured ramps and rectangles under noise."""
    random = np.random.default_rng(seed)
    height, width = _SIDES
    rows, columns = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)
    waves = random.uniform(0, 9, (3, 2))
    image = np.stack([np.sin(a * rows + b * columns) for a, b in waves], -1) * 60 + 128
    for _ in range(12):
        top, left = random.integers(0, height - 40), random.integers(0, width - 40)
        tall, wide = random.integers(12, 100, 2)
        image[top : top + tall, left : left + wide] = random.integers(0, 255, 3)
    return (image + random.normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8)


def pixels(image: Any) -> torch.Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) in 0..1."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


@torch.no_grad()
def computed(path: Path) -> dict[str, Any]:
    """What the file's network answers in float64, and how far it is from it in float32."""
    image = picture(99)
    model = YOLO(str(path)).model.float().eval()
    single = raw_heads(model, pixels(image))
    exact = raw_heads(model.double(), pixels(image).double())
    errors = [float((single[key].double() - exact[key]).abs().max()) for key in exact]
    return {
        "input": image,
        "own_error": np.array(max(errors)),
        **{key: value[0].numpy() for key, value in exact.items()},
    }


def raw_heads(model: Any, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """(B, 4 * reg_max + nc, h, w) of each level, before any decoding."""
    head, seen = model.model[-1], []
    hook = head.register_forward_pre_hook(lambda _, given: seen.append(list(given[0])))
    model(images)
    hook.remove()
    found = {}
    for name, prefix in (("raw", ""), ("one2one", "one2one_")):
        boxes, classes = (getattr(head, prefix + key, None) for key in ("cv2", "cv3"))
        if boxes is None or classes is None:
            continue
        for level, features in enumerate(seen[0]):
            both = boxes[level](features), classes[level](features)
            found[f"{name}_{level}"] = torch.cat(both, 1)
    return found


if __name__ == "__main__":
    main()
