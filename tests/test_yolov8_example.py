"""docs/yolov8.md: its script decodes as we do, and its commands exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import translate
from examples import yolov8_opencv
from models import Darknet
from tests.support.checkpoints import like_v8 as theirs
from tests.support.installed.opencv_version import needs_cfg_importer
from utils.data.letterbox import letterbox
from utils.detection.nms import nms
from utils.runtimes.choose import open_opencv
from utils.training.flags import make_parser

SIDE = 96


@pytest.fixture(scope="module")
def translated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example")
    path = theirs.save(folder / "a.pt", theirs.healthy(theirs.yolov8(width=0.03)))
    return translate.main(
        ["--weights", str(path), "--output", str(folder / "a.cfg"), "--img-size", str(SIDE)]
    )


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


@needs_cfg_importer
@torch.no_grad()
def test_decodes_as_we_do(translated: Path) -> None:
    net = cv2.dnn.readNetFromDarknet(str(translated), str(translated.with_suffix(".weights")))
    image = picture()
    confidence = 0.6
    found = yolov8_opencv.detect(net, translated.read_text(), image, confidence, 0.7)
    model = Darknet(translated).load_weights(translated.with_suffix(".weights")).eval()
    # The same picture by our own letterbox.
    framed, geometry = letterbox(image[..., ::-1].copy(), (SIDE, SIDE))
    x = torch.from_numpy(framed.transpose(2, 0, 1).copy())[None].float() / 255
    ours = nms(model(x), confidence, 0.7, multi_label=False)[0].moved(geometry.to_image)
    assert len(found) == len(ours) > 3
    for (left, top, w, h, score, label), (box, own_score, own_label) in zip(
        found, ours, strict=True
    ):
        corners = np.clip([left, top, left + w, top + h], 0, [80, 60, 80, 60])
        assert corners.tolist() == pytest.approx(box, abs=0.05)
        # The two resize the picture by other calls, whose roundings to 8 bits differ.
        assert score == pytest.approx(own_score, abs=2e-3)
        assert label == own_label


@torch.no_grad()
def test_our_runtime_gives_the_same_rows(translated: Path) -> None:
    weights = translated.with_suffix(".weights")
    x = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    ours = Darknet(translated).load_weights(weights).eval()
    run = open_opencv(Darknet(translated), weights)
    assert torch.allclose(run(x), ours(x), atol=1e-3)
    for a, b in zip(run.head_outputs(x), ours.raw_heads(x), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_the_decode_is_as_short_as_promised(root: Path) -> None:
    source = (root / "examples" / "yolov8_opencv.py").read_text()
    body = source[source.index("def detect") : source.index("def main")].rstrip()
    assert len(body.splitlines()) <= 32


def test_commands_of_the_page_are_accepted(root: Path) -> None:
    """Each flag of docs/yolov8.md exists; the commands are run by hand for the figures."""
    text = (root / "docs" / "yolov8.md").read_text().replace("\\\n", " ")
    commands = [shlex.split(c) for c in re.findall(r"^    python (.*)$", text, re.M)]
    assert len(commands) >= 6
    parsers = {
        "translate.py": translate.build_parser(),
        "train.py": make_parser(None, ("prune", "shortcut_prune", "slim_prune")),
    }
    for script, *arguments in commands:
        assert (root / script).exists()
        if script in parsers:
            parsers[script].parse_args(arguments)
