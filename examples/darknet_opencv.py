"""Run a Darknet cfg and weights in OpenCV 4: all there is from a picture to boxes, in NumPy.

python examples/darknet_opencv.py my.cfg my.weights my.names photo.jpg
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import cv2
import numpy as np


def detect(net, cfg, image_bgr, confidence=0.25, overlap=0.45):
    """[(x, y, width, height, score, class)], in pixels of the image; `cfg` is the cfg's text."""
    width, height = (int(re.search(rf"^{k}=(\d+)", cfg, re.M)[1]) for k in ("width", "height"))
    size = np.array([image_bgr.shape[1], image_bgr.shape[0]])  # what the boxes are shares of
    framed, start = image_bgr, np.zeros(2)
    if re.search(r"^letter_box=1", cfg, re.M):  # else the image is stretched
        inner = np.rint(size * min(width / size[0], height / size[1])).astype(int)
        left, top = (np.array([width, height]) - inner) // 2
        framed = np.full((height, width, 3), 127, np.uint8)
        framed[top : top + inner[1], left : left + inner[0]] = cv2.resize(image_bgr, inner.tolist())
        scale = size / inner
        size, start = np.array([width, height]) * scale, np.array([left, top]) * scale
    net.setInput(cv2.dnn.blobFromImage(framed, 1 / 255, (width, height), swapRB=True))
    rows = np.concatenate(net.forward(net.getUnconnectedOutLayersNames()))
    # A row: centre and size as shares, objectness, then objectness times probability by class.
    extent = rows[:, 2:4] * size
    boxes = np.concatenate([rows[:, :2] * size - start - extent / 2, extent], 1)
    best, label = rows[:, 5:].max(1), rows[:, 5:].argmax(1)
    kept = cv2.dnn.NMSBoxesBatched(boxes, best, label, confidence, overlap)
    return [(*boxes[k], best[k], label[k]) for k in kept]


def main(cfg_path: str, weights: str, names_path: str, image_path: str) -> None:
    """Print a line per object."""
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        sys.exit("OpenCV 5 reads no cfg: export.py --format opencv, then examples/onnx_opencv.py")
    net = cv2.dnn.readNetFromDarknet(cfg_path, weights)
    names = Path(names_path).read_text(encoding="utf-8").splitlines()
    for x, y, w, h, score, label in detect(net, Path(cfg_path).read_text(), cv2.imread(image_path)):
        print(f"{names[label]} {score:.3f} x={x:.1f} y={y:.1f} width={w:.1f} height={h:.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
