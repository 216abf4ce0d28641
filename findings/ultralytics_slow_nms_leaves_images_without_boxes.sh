#!/usr/bin/env bash
# ultralytics 8.4.190, torch 2.14.1, torchvision 0.29.1 (PyPI), Python 3.11.
#
# YOLO.val() suppresses boxes batch by batch, and a warning speaks of a time limit. What becomes of
# the images of a batch that are not done by then?
#
# Guess before running: they are suppressed all the same, later; the limit is for the log, or the
# call ends with an error. A score cannot depend on how fast the machine is.
# Seen: they get no box at all, as if the network had found nothing, and the call returns. Of 64 equal
# images (33,600 boxes, those of 1280 px) the first have their 300 and the last none. The limit is
# 2 s + .05 s an image by default, so the mAP of val() falls on a slow or busy machine: .013 once,
# where the same weights and images had .120 without the limit.
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
import torch
import torchvision  # as val() does: its nms is the fast one
import ultralytics
from ultralytics.utils.nms import non_max_suppression

torch.manual_seed(0)
image = torch.rand(1, 5, 33600)  # centre, size, score of one class
image[:, :2] *= 1280
image[:, 2:4] = image[:, 2:4] * 40 + 20
batch = image.repeat(64, 1, 1)
boxes = [len(found) for found in non_max_suppression(batch, 0.001, 0.7, max_det=300)]
print("ultralytics", ultralytics.__version__, "torchvision", torchvision.__version__, boxes)
assert boxes[0] == 300 and boxes[-1] == 0, boxes
PYTHON
