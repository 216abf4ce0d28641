#!/usr/bin/env bash
# supervision 0.31.2 (PyPI), Python 3.10 or later.
#
# A detection overlaps an object with an IoU of exactly .5. Is that a match at a threshold of .5?
# Integer boxes on small images, and halves of tiles, meet this often.
#
# Guess before running: one rule in the whole library, COCO's: at least .5 is a match.
# Seen: two rules. mAP, precision and recall count it as found; ConfusionMatrix, from the same
# detections and threshold, counts the object as missed and the detection as false. Its with_nms
# keeps two boxes whose IoU equals the threshold, as one would expect from "more than".
#
# Exits with 0 while that is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check supervision==0.31.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import supervision as sv
from supervision.metrics import MeanAveragePrecision, Recall

labels = sv.Detections(xyxy=np.array([[0.0, 0, 10, 10]]), class_id=np.array([0]))


def judged(height):
    """(mAP@.5, recall, whether the confusion matrix has a hit) of a box that high."""
    found = sv.Detections(
        xyxy=np.array([[0.0, 0, 10, height]]), class_id=np.array([0]), confidence=np.array([0.9])
    )
    mean, recall = MeanAveragePrecision(), Recall()
    for metric in (mean, recall):
        metric.update([found], [labels])
    matrix = sv.ConfusionMatrix.from_detections([found], [labels], classes=["x"], iou_threshold=0.5)
    hit = matrix.matrix[0, 0] == 1
    return round(mean.compute().map50, 3), round(recall.compute().recall_at_50, 3), bool(hit)


seen = {height: judged(height) for height in (4, 5, 6)}
print("supervision", sv.__version__, "height: (mAP@.5, recall, in the confusion matrix)", seen)
nothing, all_found = (0.0, 0.0, False), (1.0, 1.0, True)
assert seen == {4: nothing, 5: (1.0, 1.0, False), 6: all_found}, seen
PYTHON
