#!/usr/bin/env bash
# supervision 0.31.2 (PyPI), Python 3.10 or later.
#
# One image holds one object of class x. A detector finds it, and with higher scores two objects of
# class y that are not there. What does sv.metrics.Precision say?
#
# Guess before running: 1/3, as one of three detections is right; or .5, the mean over classes.
# Seen: 1.0 (and F1 1.0). The default, AveragingMethod.WEIGHTED, weighs each class by its number of
# labelled objects, so false detections of a class without labels weigh nothing. MICRO gives 1/3 and
# MACRO .5. A detector that floods a data set with a class that it does not hold looks perfect.
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
from supervision.metrics import AveragingMethod, F1Score, Precision


def boxes(corners, classes, scores=None):
    return sv.Detections(
        xyxy=np.array(corners, float),
        class_id=np.array(classes),
        confidence=None if scores is None else np.array(scores),
    )


labels = boxes([[0, 0, 10, 10]], [0])
found = boxes(
    [[0, 0, 10, 10], [50, 50, 60, 60], [70, 70, 80, 80]], [0, 1, 1], [0.90, 0.95, 0.95]
)
seen = {}
for name, options in {
    "default": {},
    "micro": {"averaging_method": AveragingMethod.MICRO},
    "macro": {"averaging_method": AveragingMethod.MACRO},
}.items():
    precision, f1 = Precision(**options), F1Score(**options)
    precision.update([found], [labels])
    f1.update([found], [labels])
    seen[name] = (round(precision.compute().precision_at_50, 3), round(f1.compute().f1_50, 3))
print("supervision", sv.__version__, "(precision, F1) at IoU .5:", seen)
assert seen == {"default": (1.0, 1.0), "micro": (0.333, 0.5), "macro": (0.5, 0.5)}, seen
PYTHON
