"""Run a translated YOLOv8 in OpenCV: all the decoding there is, in NumPy.

python examples/yolov8_opencv.py yolov8n.cfg yolov8n.weights yolov8n.names photo.jpg
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np


def detect(net, cfg, image_bgr, confidence=0.25, overlap=0.7):
    """[(x, y, width, height, score, class)], in pixels of the image."""
    width, height = (int(re.search(rf"^{k}=(\d+)", cfg, re.M)[1]) for k in ("width", "height"))
    heads = [json.loads(t) for t in re.findall(r"^# darkslim head (.*)$", cfg, re.M)]
    scale = min(width / image_bgr.shape[1], height / image_bgr.shape[0])
    inner = cv2.resize(image_bgr, None, fx=scale, fy=scale)
    top, left = (height - inner.shape[0]) // 2, (width - inner.shape[1]) // 2
    framed = np.full((height, width, 3), 114, np.uint8)
    framed[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    net.setInput(cv2.dnn.blobFromImage(framed, 1 / 255, swapRB=True))
    boxes, scores = [], []
    for head, out in zip(heads, net.forward(net.getUnconnectedOutLayersNames()), strict=True):
        bins, stride, (rows, columns) = head["reg_max"], head["stride"], out.shape[2:]
        raw = out[0].reshape(out.shape[1], -1)  # (channels, cells)
        logits = raw[: 4 * bins].reshape(4, bins, -1)
        spread = np.exp(logits - logits.max(1, keepdims=True))
        sides = np.einsum("kbc,b->kc", spread / spread.sum(1, keepdims=True), np.arange(bins))
        cells = np.indices((rows, columns)).reshape(2, -1)[::-1] + 0.5  # x, y
        low, high = (cells - sides[:2]) * stride, (cells + sides[2:]) * stride
        boxes.append(np.concatenate([low - [[left], [top]], high - low]).T / scale)
        scores.append(1 / (1 + np.exp(-raw[4 * bins :].T)))
    boxes, scores = np.concatenate(boxes), np.concatenate(scores)
    best, label = scores.max(1), scores.argmax(1)
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
