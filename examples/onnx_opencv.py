"""Run an ONNX file of export.py in OpenCV 5 or 4: from a picture to boxes, in NumPy.

python examples/onnx_opencv.py my.onnx my.names photo.jpg 416x416 [letterbox]
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np


def read_net(path):
    """By the classic engine of OpenCV 5, mostly the faster one; for --half or --dynamic: NEW."""
    classic = getattr(cv2.dnn, "ENGINE_CLASSIC", None)  # OpenCV 4 has one engine, without a name
    return cv2.dnn.readNetFromONNX(path, *([] if classic is None else [classic]))


def detect(net, image_bgr, size_wh, letterbox=False, confidence=0.25, overlap=0.45):
    """[(x, y, width, height, score, class)], in pixels of the image."""
    whole = np.array([image_bgr.shape[1], image_bgr.shape[0]])
    inner = np.array(size_wh)
    if letterbox:  # else the image is stretched
        inner = np.rint(whole * min(inner / whole)).astype(int)
    left, top = start = (np.array(size_wh) - inner) // 2
    framed = np.full((size_wh[1], size_wh[0], 3), 127, np.uint8)
    framed[top : top + inner[1], left : left + inner[0]] = cv2.resize(image_bgr, inner.tolist())
    net.setInput(cv2.dnn.blobFromImage(framed, 1 / 255, swapRB=True))
    rows = net.forward("predictions")[0]  # by name: without one, engines differ
    # A row: centre and size in pixels of the input, objectness, then probability by class.
    extent = rows[:, 2:4] * whole / inner
    boxes = np.concatenate([(rows[:, :2] - start) * whole / inner - extent / 2, extent], 1)
    scores = rows[:, 4:5] * rows[:, 5:]
    best, label = scores.max(1), scores.argmax(1)
    kept = cv2.dnn.NMSBoxesBatched(boxes, best, label, confidence, overlap)
    return [(*boxes[k], best[k], label[k]) for k in kept]


def main(path: str, names_path: str, image_path: str, size: str, fit: str = "stretch") -> None:
    """Print a line per object."""
    names = Path(names_path).read_text(encoding="utf-8").splitlines()
    size_wh = [int(number) for number in size.split("x")]
    found = detect(read_net(path), cv2.imread(image_path), size_wh, fit == "letterbox")
    for x, y, w, h, score, label in found:
        print(f"{names[label]} {score:.3f} x={x:.1f} y={y:.1f} width={w:.1f} height={h:.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
