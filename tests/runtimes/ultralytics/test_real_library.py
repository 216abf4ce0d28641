"""Files of export.py --format ultralytics in the library itself: predict, val and export.

Runs where ULTRALYTICS_PYTHON names an interpreter that has it, or this one does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import export
import slim_prune
from tests.support.nets import healthy
from tests.support.prune_case import prune_by_flags
from utils.cfg import parse_cfg, save_cfg
from utils.pruning.report.result import Pruned
from utils.zoo import BY_CLASSES

PYTHON = os.environ.get("ULTRALYTICS_PYTHON") or (
    sys.executable if find_spec("ultralytics") else ""
)
SIDE_PX, IMAGES = 96, 4
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="no interpreter with ultralytics"),
]
# What a user types, in their interpreter; NMS has the time that it needs on a busy machine.
THEIRS = """
import functools, json, sys
import numpy as np
from ultralytics import YOLO
from ultralytics.utils import nms
nms.non_max_suppression = functools.partial(nms.non_max_suppression, max_time_img=1e6)
path, data, picture, answer = sys.argv[1:]
told = {}
boxes = YOLO(path).predict(picture, imgsz=96, conf=0.001, iou=0.6, verbose=False)[0].boxes
told["predict"] = boxes.data.tolist()
told["names"] = list(YOLO(path).names.values())
how = dict(data=data, imgsz=96, batch=4, workers=0, plots=False, verbose=False, iou=0.6, rect=False)
box = YOLO(path).val(**how).box
told["val"] = [box.map50, box.map]
file = YOLO(path).export(format="onnx", imgsz=96)
boxes = YOLO(file, task="detect").predict(picture, imgsz=96, conf=0.001, iou=0.6, verbose=False)[0]
told["onnx"] = boxes.boxes.data.tolist()
open(answer, "w").write(json.dumps(told))
"""


def pictures(folder: Path) -> tuple[Path, Path]:
    """Pictures with a box each; the data set for us and for the library."""
    random = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(IMAGES)]
    for path in paths:
        coarse = random.integers(0, 255, (7, 7, 3), np.uint8)
        cv2.imwrite(str(path), cv2.resize(coarse, (131, 100), interpolation=cv2.INTER_CUBIC))
        path.with_suffix(".txt").write_text("1 .5 .5 .4 .3\n")
    listed = folder / "list.txt"
    listed.write_text("".join(f"{path}\n" for path in paths))
    (folder / "set.names").write_text("a\nb\nc\n")
    ours, theirs = folder / "set.data", folder / "set.yaml"
    ours.write_text(f"classes=3\ntrain={listed}\nvalid={listed}\nnames={folder / 'set.names'}\n")
    told = {"train": str(listed), "val": str(listed), "names": ["a", "b", "c"]}
    theirs.write_text(json.dumps(told))  # JSON is YAML
    return ours, theirs


def pruned_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """A network of that name with a signal in it, cut so that it fits; cfg and weights."""
    cfg = folder / f"{name}.cfg"
    small = parse_cfg(BY_CLASSES[name](3).replace("=640\n", f"={SIDE_PX}\n"), name)
    save_cfg(small, cfg)
    healthy(small).save_weights(cfg.with_suffix(".weights"))
    found = prune_by_flags(
        slim_prune.STRATEGY,
        ["--cfg", str(cfg), "--weights", str(cfg.with_suffix(".weights")), "--global-percent",
         "0.4", "--layer-keep", "0.1", "--form", "ultralytics"],
    )  # fmt: skip
    assert isinstance(found, Pruned)
    return found.cfg_path, found.weights_path


def told_by_the_library(folder: Path, path: Path, data: Path) -> dict[str, Any]:
    answer = folder / "answer.json"
    environment = {**os.environ, "YOLO_CONFIG_DIR": str(folder), "YOLO_AUTOINSTALL": "false",
                   "YOLO_OFFLINE": "true"}  # fmt: skip
    done = subprocess.run(
        [PYTHON, "-c", THEIRS, str(path), str(data), str(folder / "0.jpg"), str(answer)],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert not done.returncode, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(answer.read_text())
    return told


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolo26n"])
def test_predict_val_and_export_there(name: str, tmp_path: Path) -> None:
    cfg, weights = pruned_pair(tmp_path, name)
    ours, theirs = pictures(tmp_path)
    stem = tmp_path / "back"
    export.main(
        ["--cfg", str(cfg), "--weights", str(weights), "--data", str(ours), "--format",
         "ultralytics", "--ultralytics-python", PYTHON, "--output", str(stem)]
    )  # fmt: skip
    told = told_by_the_library(tmp_path, stem.with_suffix(".pt"), theirs)
    assert told["names"] == ["a", "b", "c"]
    # What it scores are random weights: that it does, and to numbers, is all that can be asked.
    assert len(told["val"]) == 2 and all(0 <= value <= 1 for value in told["val"])
    # Its ONNX file finds what its own program finds.
    there, exported = (np.array(told[key]) for key in ("predict", "onnx"))
    assert len(there) > 20 and there[:, 4].max() > 0.05
    best = [np.sort(rows[:, 4])[-10:] for rows in (there, exported)]
    np.testing.assert_allclose(best[0], best[1], atol=1e-3)
