"""Darknet's own detections, before and after NMS: vectors that it computed, and cases by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import Darknet
from tests.support.darknet_detections import darknet_detections, image_shares
from tests.support.darknet_image import letterboxed_size
from tests.support.golden import (
    GOLDEN,
    SHARED,
    planar,
    read_vector,
    vector_cfg,
    vector_image,
    vector_name,
    vector_paths,
    write_vector_weights,
)
from tests.support.nets import noise, rules, section
from utils.cfg import load_cfg
from utils.detection.options import NmsKind
from utils.network.layers import Head

# Of each number, or of its size where that is above 1: boxes of random nets are up to 30 images
# wide, and Darknet's own rounding in float32 grows with them.
TOLERANCE = 1e-4

QUICK = {
    "yolov2-tiny", "yolov3-tiny", "yolov3-tiny-prn", "yolov3-tiny_obj", "yolov4-csp-s-mish",
    "yolov4-tiny", "yolov4-tiny-custom", "yolov4-tiny_contrastive", "yolov7-tiny",
}  # fmt: skip
# Vectors in which another kind of NMS leaves the same boxes.
NO_CONTROL = {
    "small/enet-coco", "small/yolov2-tiny", "small/yolov3", "small/yolov3-tiny",
    "small/yolov4-csp-s-mish", "small/yolov4-csp-swish", "small/yolov4-custom", "small/yolov4-p5",
    "small/yolov4-p6", "small/yolov7", "large/yolov4-csp-s-mish", "large/yolov7",
}  # fmt: skip


def vectors(*folders: str) -> list[Any]:
    """Those that hold detections."""
    found = []
    for path in vector_paths(*folders):
        if path.parent.name != "real" and "dets_raw" not in np.load(path).files:
            continue
        slow = path.parent.name in ("small", "large") and path.stem not in QUICK
        marks = [pytest.mark.slow] if slow else []
        found.append(pytest.param(path, id=vector_name(path), marks=marks))
    return found


@torch.inference_mode()
def raw_heads(model: Darknet, image_chw: NDArray[np.float32]) -> list[Tensor]:
    x = torch.from_numpy(image_chw)[None, : model.in_channels]
    return model.eval().fuse().raw_heads(x)


def error(ours: Tensor, theirs: NDArray[np.float32]) -> float:
    """The largest difference relative to max(1, size); inf for another number of rows."""
    if ours.shape != theirs.shape:
        return float("inf")
    ordered = theirs[np.lexsort((-theirs[:, 1], theirs[:, 0]))]
    difference = np.abs(ours.numpy() - ordered) / np.maximum(1, np.abs(ordered))
    return float(difference.max(initial=0))


@pytest.mark.parametrize("path", vectors("micro", "small", "large"))
def test_random_networks(path: Path, tmp_path: Path) -> None:
    vector = read_vector(path)
    cfg, text = vector_cfg(path, vector)
    weights = write_vector_weights(tmp_path / "random.weights", text, vector)
    model = Darknet(cfg).load_weights(weights)
    weights.unlink()
    raw = raw_heads(model, vector_image(path, vector))
    width, height = vector["det_image_wh"].tolist()

    def found(**options: Any) -> Tensor:
        limit = float(vector["det_thresh"])
        size = model.img_size
        return darknet_detections(model.heads, raw, size, (height, width), thresh=limit, **options)

    assert error(found(nms_thresh=None), vector["dets_raw"]) < TOLERANCE
    assert error(found(), vector["dets_nms"]) < TOLERANCE
    assert error(found(letterbox=True), vector["dets_nms_letter"]) < TOLERANCE
    # Each of these is seen: the letterbox, suppression at all, and of which kind.
    assert error(found(), vector["dets_nms_letter"]) > 10 * TOLERANCE
    plain = NmsKind.of_head(model.heads[-1].section).name == "default"
    other = NmsKind("greedynms" if plain else "default")
    if vector_name(path) not in NO_CONTROL:
        assert error(found(kind=other), vector["dets_nms"]) > 10 * TOLERANCE
    if len(vector["dets_nms"]) != len(vector["dets_raw"]):
        assert error(found(nms_thresh=None), vector["dets_nms"]) > 10 * TOLERANCE


@pytest.mark.parametrize("path", vectors("real"))
def test_trained_networks(path: Path) -> None:
    weights = SHARED / "weights" / "yolo-fastest" / f"{path.stem}.weights"
    if not weights.is_file():
        pytest.skip(f"no {weights.name}")
    vector, images = np.load(path), np.load(GOLDEN / "real" / "inputs.npz")
    model = Darknet(load_cfg(weights.with_suffix(".cfg"))).load_weights(weights)
    for subject in ("dog", "person"):
        width, height = images[f"{subject}_wh"].tolist()
        for fit in ("resize", "letter"):
            key = f"{subject}_{fit}"
            raw = raw_heads(model, planar(images[key]))
            for name, nms_thresh in (("dets", 0.45), ("dets_raw", None)):
                for letterbox in (False, True):
                    found = darknet_detections(
                        model.heads, raw, model.img_size, (height, width),
                        nms_thresh=nms_thresh, letterbox=letterbox,
                    )  # fmt: skip
                    theirs = vector[f"{key}_{name}"]
                    same = len(theirs) == 0 or letterbox == (fit == "letter")
                    assert (error(found, theirs) < TOLERANCE) == same


def one_head(kind: str, channels: int, rows: int, columns: int, **options: Any) -> Head:
    (layer,) = rules(section(kind, **options), hw=(rows, columns), channels=channels)
    assert isinstance(layer, Head)
    return layer


def test_boxes_come_by_head_then_cell_then_anchor() -> None:
    anchors = {"classes": 1, "num": 2, "anchors": "1,1, 1,1"}
    coarse = one_head("yolo", 12, 1, 2, **anchors)
    fine = one_head("yolo", 12, 2, 2, **anchors)
    raw = [torch.zeros(1, 12, 1, 2), torch.zeros(1, 12, 2, 2)]  # all probabilities are .25
    raw[0][0, 6 + 2] = 0.5  # the second anchor's width
    found = darknet_detections([coarse, fine], raw, (8, 8), (8, 8), thresh=0.2, nms_thresh=None)
    assert found[:, 2].tolist() == [0.25, 0.25, 0.75, 0.75] + [0.25, 0.25, 0.75, 0.75] * 2
    assert found[:, 3].tolist() == [0.5] * 4 + [0.25] * 4 + [0.75] * 4
    assert (found[:4, 4] > 0.13).tolist() == [False, True, False, True]


def test_thresholds_are_strict() -> None:
    head = one_head("yolo", 6, 1, 1, classes=1, num=1, anchors="1,1")
    raw = [torch.zeros(1, 6, 1, 1)]
    raw[0][0, 5] = 100.0  # objectness .5, class 1
    assert len(darknet_detections([head], raw, (8, 8), (8, 8), thresh=0.4999)) == 1
    assert len(darknet_detections([head], raw, (8, 8), (8, 8), thresh=0.5)) == 0


def test_uncertain_gaussian_boxes_pass_by_their_own_objectness() -> None:
    head = one_head("Gaussian_yolo", 10, 1, 1, classes=1, num=1, anchors="1,1")
    raw = [torch.zeros(1, 10, 1, 1)]
    raw[0][0, 9] = 100.0  # objectness .5, class 1, each uncertainty .5
    (row,) = darknet_detections([head], raw, (8, 8), (8, 8), thresh=0.2)
    assert row[[1, 6]].tolist() == [0.25, 0.5]
    assert len(darknet_detections([head], raw, (8, 8), (8, 8), thresh=0.25)) == 0


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "some.tree"
    path.write_text("animal -1\nthing -1\ncat 0\ndog 0\ntabby 2\nsphynx 2\n")
    return path


def test_a_tree_names_the_most_special_class_above_one_half(tree: Path) -> None:
    options = {"classes": 6, "num": 1, "anchors": "1,1", "softmax": 1, "tree": str(tree)}
    head = one_head("region", 11, 1, 3, **options)
    raw = torch.zeros(1, 11, 1, 3)
    raw[0, 5:7] = torch.tensor([3.0, 0.0])[:, None, None]  # animal: .953
    raw[0, 7, 0, :2] = 2.0  # cat, in the first two cells: .881 of it
    raw[0, 9, 0, 0] = 1.0  # tabby, in the first: .731 of that
    raw[0, 4] = torch.tensor([[0.0, 0.0, -3.0]])  # objectness .5, .5, .047
    p = [torch.tensor(v).sigmoid().item() for v in (3.0, 2.0, 1.0)]
    found = darknet_detections([head], [raw], (32, 96), (32, 96), thresh=0.3, nms_thresh=None)
    assert found[:, 0].tolist() == [2, 4]
    assert found[:, 1].tolist() == pytest.approx([p[0] * p[1], p[0] * p[1] * p[2]])
    assert found[:, 6].tolist() == [1, 1]
    everywhere = darknet_detections([head], [raw], (32, 96), (32, 96), thresh=0.04)
    assert everywhere[:, 0].tolist() == [0, 2, 4]


def test_letterboxed_boxes_lie_where_darknet_put_the_image() -> None:
    """A 640x424 image in 320x320 is 212 pixels high: `h * net_w / w` cut down."""
    assert letterboxed_size((424, 640), (320, 320)) == (212, 320)
    whole = torch.tensor([[160.0, 160.0, 320.0, 212.0]])
    assert image_shares(whole, (320, 320), (424, 640), True).tolist() == [[0.5, 0.5, 1.0, 1.0]]
    stretched = image_shares(whole, (320, 320), (424, 640), False)
    torch.testing.assert_close(stretched, torch.tensor([[0.5, 0.5, 1.0, 0.6625]]))


def test_no_detections() -> None:
    head = one_head("yolo", 12, 3, 3, classes=1, num=2, anchors="1,1, 2,2")
    raw = [noise(1, 12, 3, 3) - 100]
    assert darknet_detections([head], raw, (8, 8), (8, 8)).shape == (0, 7)
