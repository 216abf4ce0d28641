#!/usr/bin/env bash
# ensemble-boxes 1.0.9, numpy 1.26.4 (PyPI), Python 3.9 to 3.12.
#
# Soft-NMS lowers the score of a box by its overlap with a better one, and throws nothing away. Three
# boxes of one class, the second and third over the first by IoU .9 and .6, scores .9, .8 and .7: what
# does soft_nms give back? And, with weights for two models, the same call made twice?
#
# Guess before running: three boxes with .9, .16 and .34 (gaussian, sigma .5), best first; the same again.
# Seen: .9, .7 and .8, the scores that went in. The lowered ones only set the order and say which boxes
# fall under thresh=.001, which none does here. Nothing is suppressed: in a ranking by score, such as
# mAP's, every duplicate counts, and a filter by score keeps it. And with weights, nms and soft_nms
# write the weighted scores into the lists they were given: the same call made again gives half.
#
# Exits with 0 while that is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    ensemble-boxes==1.0.9 numpy==1.26.4
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from ensemble_boxes import nms, soft_nms

boxes = [[[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.45], [0, 0, 0.5, 0.3]]]
scores = [[0.9, 0.8, 0.7]]
labels = [[0, 0, 0]]


def rounded(found):
    return np.round(found, 3).tolist()


seen = {
    "gaussian": rounded(soft_nms(boxes, scores, labels, method=2, sigma=0.5)[1]),
    "linear": rounded(soft_nms(boxes, scores, labels, method=1, iou_thr=0.5)[1]),
}
pair = [[[0, 0, 0.5, 0.5]], [[0.5, 0.5, 1, 1]]]
given = [[0.8], [0.6]]
seen["twice"] = [
    rounded(nms(pair, given, [[0], [0]], weights=[1, 1])[1]) for _ in range(2)
]
print("ensemble-boxes", version("ensemble-boxes"), seen)
assert sorted(seen["gaussian"]) == sorted(seen["linear"]) == [0.7, 0.8, 0.9], seen
assert seen["twice"] == [[0.4, 0.3], [0.2, 0.15]], seen
PYTHON
