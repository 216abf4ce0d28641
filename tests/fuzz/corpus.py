"""Right files of each kind, small: what the mutations begin with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml

from tests.support.checkpoints import like_v8 as theirs
from tests.support.nets import small_detector
from tests.support.tiny_data import make_set
from utils.cfg import format_cfg
from utils.network.weights import checkpoint_content
from utils.pruning.goals.table_file import LayerTimes, TableFile, write_table_file
from utils.pruning.sensitivity.file import write_sensitivity
from utils.pruning.sensitivity.record import Curve, Images, Point, Ranked, Scores, Sensitivity
from utils.pruning.widths.file import Width, Widths, write_widths
from utils.translate.translation import translate_checkpoint

CFG = """[net]
width=64
height=32
channels=3
policy=steps
steps=10,20
scales=.1,.1
max_batches=30
[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky
[maxpool]
size=2
stride=2
[convolutional]
filters=8
size=1
activation=linear
[shortcut]
from=-2
[route]
layers=-1,-3
[upsample]
stride=2
[reorg]
stride=2
[convolutional]
filters=14
size=1
activation=linear # heads come next
[yolo]
mask=0,1
anchors=10,14, 23,27, 37,58
classes=2
num=3
"""
VOC = """<?xml version="1.0" encoding="UTF-8"?>
<annotation><folder>a</folder><filename>{name}</filename>
<size><width>64</width><height>48</height><depth>3</depth></size>
<object><name>cat</name><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>
<object><name>dog</name><bndbox><xmin>9</xmin><ymin>4</ymin><xmax>60</xmax><ymax>20</ymax></bndbox></object>
</annotation>
"""
SENSITIVITY = Sensitivity(
    "0" * 64,
    "f" * 64,
    "map",
    Scores(2.5, 0.75, 0.5),
    Ranked("slim_prune", "bn", "none"),
    Images(24, 0.1, 0),
    (32, 64),
    0,
    (Curve((0, 2), 8, (Point(0.5, 4, 1 / 3, Scores(3.1, 0.5, 0.2), 0.7),)),),
)

TIMES = TableFile(
    "0" * 64,
    (64, 96),
    "onnx",
    "a board",
    {"median": 3.0, "p10": 2.5, "p90": 4.0},
    (
        LayerTimes((0,), (3,), (2, 4), ((0.5, 1.0),), False),
        LayerTimes((1, 2), (2, 4), (4, 8), ((0.5, 1.0), (1.0, 1.5)), False),
        LayerTimes((3,), (4, 8), (4, 8), ((0.25, 0.5),), True),
    ),
)
WIDTHS = Widths(
    "0" * 64, Ranked("slim_prune", "bn", "none"), (Width((0, 2), 8, 5), Width((4,), 6, 6))
)


def plan() -> dict[str, Any]:
    rows = [{"layer": k, "of": k, "channels": list(range(8))} for k in (0, 2)]
    return {"format": 1, "cut_from": "a.cfg", "layers": rows}


def coco() -> dict[str, Any]:
    size = {"height": 48, "width": 64}
    return {
        "images": [{"id": k, "file_name": f"{k}.png", **size} for k in range(3)],
        "annotations": [
            {"id": k, "image_id": k % 3, "category_id": 1 + k % 2, "bbox": [1, 2, 30, 20.5]}
            for k in range(4)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def data_yaml() -> dict[str, Any]:
    folders = {"path": ".", "train": "images", "val": ["images", "list.txt"]}
    return {**folders, "nc": 2, "names": {0: "cat", 1: "dog"}, "kpt_shape": [3, 2]}


def write_set(folder: Path) -> None:
    """Images with labels, a list, names, a .data file, and the same set in other forms."""
    make_set(folder, 3)
    (folder / "my.names").write_text("cat\ndog\n")
    (folder / "my.data").write_text(
        "classes=2 # two\ntrain=list.txt\nvalid=list.txt\nnames=my.names\nbackup=.\n"
    )
    (folder / "data.yaml").write_text(yaml.safe_dump(data_yaml()))


def write_coco(folder: Path) -> None:
    make_set(folder, 3)
    (folder / "instances_train.json").write_text(json.dumps(coco()))


def write_voc(folder: Path) -> None:
    make_set(folder, 3)
    for k in range(3):
        (folder / f"{k}.xml").write_text(VOC.format(name=f"{k}.png"))
    main = folder / "ImageSets" / "Main"
    main.mkdir(parents=True)
    (main / "train.txt").write_text("0\n1 -1\n")
    (main / "val.txt").write_text("2\n")


def write_images(folder: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    for suffix in ("png", "jpg", "bmp", "ppm", "tif", "webp", "jp2", "pgm"):
        shown = picture if suffix != "pgm" else picture[:, :, 0]
        cv2.imwrite(str(folder / f"a.{suffix}"), shown)
    deep = picture.astype(np.uint16) * 257
    cv2.imwrite(str(folder / "deep.png"), deep)


def write_network(folder: Path) -> None:
    (folder / "net.cfg").write_text(CFG)
    from models import Darknet

    Darknet(folder / "net.cfg").save_weights(folder / "net.weights")


def checkpoint() -> dict[str, Any]:
    """What train.py writes, but for the optimizer's numbers."""
    model = small_detector()
    state = model.state_dict()
    return {
        **checkpoint_content(format_cfg(model.cfg), state, 7),
        "names": ["cat", "dog"],
        "best_conf": 0.4,
        "masks": {"layers.0.conv.weight": torch.ones_like(state["layers.0.conv.weight"]).bool()},
        "epoch": 1, "step": 2, "best_epoch": 0, "ema_updates": 2, "best_fitness": 0.5,
        "raw": dict(state), "optimizer": {"state": {}, "param_groups": []}, "scaler": {},
        "rng": {"cpu": torch.get_rng_state(), "cuda": []},
        "results": [{"epoch": 0, "val/map50": 0.5}], "args": {"epochs": 3, "patience": 0},
    }  # fmt: skip


def write_checkpoint(folder: Path) -> None:
    torch.save(checkpoint(), folder / "last.pt")


def write_foreign(folder: Path) -> None:
    torch.manual_seed(0)
    theirs.save(folder / "theirs.pt", theirs.yolov8("n", 2, 0.03))


def write_widths_file(folder: Path) -> None:
    write_widths(WIDTHS, folder / "w.json")


def write_times(folder: Path) -> None:
    write_table_file(TIMES, folder / "t.json")


def write_tree(folder: Path) -> None:
    (folder / "a.tree").write_text("thing -1\ncat 0\ndog 0\npoodle 2\n")


def write_noted(folder: Path) -> None:
    """A cfg whose heads are notes in comments, as a translation has them."""
    write_foreign(folder)
    made = translate_checkpoint(folder / "theirs.pt", (64, 64))
    (folder / "net.cfg").write_text(format_cfg(made.cfg))
    (folder / "theirs.pt").unlink()


def write_sensitivity_file(folder: Path) -> None:
    write_sensitivity(SENSITIVITY, folder / "s.json")
