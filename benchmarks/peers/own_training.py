"""What ultralytics' own trainer makes of a network from random weights.

    PEER/bin/python benchmarks/peers/own_training.py --model yolo11n.yaml --data data.yaml \\
        --img-size 320 --batch-size 16 --epochs 20 --seed 0 --output runs/trainers/peer

Runs in an environment of its own (ultralytics 8.4.190) and imports nothing of this repository. All
is the trainer's default but what is named; the last epoch's averaged weights are scored by its own
validator on `val:`, into result.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from ultralytics import YOLO


def main() -> None:
    """Train, score, write result.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", required=True, help="a .yaml of ultralytics")
    add("--data", type=Path, required=True, help="data.yaml")
    add("--img-size", type=int, default=320)
    add("--batch-size", type=int, default=16)
    add("--epochs", type=int, required=True)
    add("--seed", type=int, default=0)
    add("--output", type=Path, required=True)
    args = parser.parse_args()
    folder, began = args.output.resolve(), time.monotonic()
    same = {
        "data": str(args.data), "imgsz": args.img_size, "batch": args.batch_size, "device": "cpu",
        "workers": 0, "plots": False, "project": str(folder), "exist_ok": True,
    }  # fmt: skip
    YOLO(args.model).train(
        **same, epochs=args.epochs, seed=args.seed, amp=False, val=False, cache="ram", name="train"
    )
    minutes = (time.monotonic() - began) / 60
    trained = YOLO(str(folder / "train" / "weights" / "last.pt"))
    parameters = sum(each.numel() for each in trained.model.parameters())
    found = trained.val(**same, name="val").box
    result = {
        "parameters": parameters, "map50": float(found.map50), "map": float(found.map),
        "minutes": minutes,
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
