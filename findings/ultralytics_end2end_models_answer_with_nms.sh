#!/usr/bin/env bash
# ultralytics 8.4.190, torch 2.14.1, torchvision 0.29.1 (PyPI), Python 3.11.
#
# yolo26n.yaml says `end2end: True`, and YOLO26 and YOLOv10 are known as networks without NMS. Which
# of their two heads answers when one builds such a model and calls it, or its predict(), plainly?
#
# Guess before running: the one2one head: 300 rows of x1 y1 x2 y2 score class, and no NMS.
# Seen: the one2many head: (1, 4 + classes, cells), and NMS afterwards; `end2end: True` only makes
# the second head. predict(nms=False) takes it; predict(nms=None), the default, and nms=True do not.
#
# Exits with 0 while that is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.14.1 torchvision==0.29.1 ultralytics==8.4.190
cd "$folder"
YOLO_CONFIG_DIR="$folder" YOLO_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import torch
import ultralytics
from ultralytics import YOLO

picture = np.zeros((256, 320, 3), np.uint8)
seen = {}
for name in ("yolo26n", "yolov10n"):
    model = YOLO(f"{name}.yaml")
    with torch.no_grad():
        plain = tuple(model.model.eval()(torch.zeros(1, 3, 256, 320))[0].shape)
    answers = {}
    for nms in (None, True, False):
        fresh = YOLO(f"{name}.yaml")
        fresh.predict(picture, imgsz=(256, 320), nms=nms, verbose=False)
        answers[nms] = bool(fresh.predictor.model.end2end)
    seen[name] = (model.model.yaml.get("end2end"), plain, answers)
print("ultralytics", ultralytics.__version__, "(yaml, plain call, one2one by nms=)", seen)
one2many = (1, 84, 1680), {None: False, True: False, False: True}
assert seen == {"yolo26n": (True, *one2many), "yolov10n": (None, *one2many)}, seen
PYTHON
