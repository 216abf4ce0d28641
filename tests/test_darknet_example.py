"""examples/darknet_opencv.py finds what detect.py finds, stretched and letterboxed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from examples import darknet_opencv
from models import Darknet
from tests.support.installed.opencv_version import needs_cfg_importer
from tests.support.nets import conv, head, healthy_state, net
from utils.cfg import format_cfg
from utils.data.letterbox import letterbox, picture_input
from utils.detection.nms import nms

LAYERS = [conv(8, stride=2), conv(16, stride=2), head(2)]


@needs_cfg_importer
@pytest.mark.parametrize(("line", "fit"), [("", "stretch"), ("letter_box=1\n", "letterbox")])
@torch.no_grad()
def test_decodes_as_we_do(tmp_path: Path, line: str, fit: str) -> None:
    text = format_cfg(net(*LAYERS, width=64, height=64)).replace("[net]\n", f"[net]\n{line}", 1)
    cfg, weights = tmp_path / "a.cfg", tmp_path / "a.weights"
    cfg.write_text(text)
    model = Darknet(cfg)
    model.load_state(healthy_state(model))
    model.save_weights(weights)
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    opencv = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
    confidence = 0.2
    found = darknet_opencv.detect(opencv, text, image, confidence, 0.45)
    framed, geometry = letterbox(image[..., ::-1].copy(), (64, 64), fit)
    predictions = model.eval()(picture_input(framed))
    (ours,) = nms(predictions, confidence, 0.45, multi_label=False)
    ours = ours.moved(geometry.to_image)
    assert len(found) > 3 and abs(len(found) - len(ours)) <= 1
    near = 0
    for left, top, w, h, score, label in found:
        corners = np.clip([left, top, left + w, top + h], 0, [80, 60, 80, 60])
        apart = np.abs(ours.boxes_xyxy_px - corners).max(1)
        best = int(apart.argmin())
        near += apart[best] < 1 and abs(ours.scores[best] - score) < 0.02
        assert ours.classes[best] == label or apart[best] >= 1
    assert near >= 0.9 * len(found)
