"""Inputs that once ended in a traceback, in silence, or in no end: what they must come to."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from models import Darknet
from tests.fuzz import corpus, exported
from tests.support.nets import small_detector
from utils.annotations.coco import read_coco
from utils.annotations.ultralytics import read_ultralytics
from utils.annotations.voc import read_voc
from utils.annotations.write import write_darknet
from utils.cfg import CfgError, parse_cfg
from utils.command.errors import UserError
from utils.command.limits import set_tensor_limit
from utils.data.darknet_files import load_data_file, load_list, read_text
from utils.data.images import UnreadableImageError, image_size, read_image
from utils.data.labels import read_labels
from utils.network.channel_links import read_links
from utils.network.graph import channel_graph
from utils.network.layers import build_layers
from utils.network.layers.region import read_tree
from utils.network.weights import load_checkpoint
from utils.training.checkpoint import load_for_resume
from utils.training.flags import make_parser
from utils.training.hyp import hyp_flags
from utils.training.run_folder import started_from

NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"


@pytest.fixture(autouse=True)
def _own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test sets as the limit is gone after it."""
    for name in ("DARKSLIM_TENSOR_LIMIT", "OPENCV_IO_MAX_IMAGE_PIXELS"):
        monkeypatch.setenv(name, os.environ.get(name, ""))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[convolutional]\nfilters=999999999999\n", r"net.cfg:5: \[convolutional\]: its largest"),
        ("[convolutional]\nsize=1000000\npad=1\n", "its largest tensor would be"),
        ("[convolutional]\nfilters=9999\nsize=199\npad=1\n", "those of the network would be"),
        ("[connected]\noutput=99999999\n", "would be"),
        ("[maxpool]\nsize=1\npadding=100000\nstride=99999\n", "its largest tensor would be"),
        ("[upsample]\nstride=100000\n", r"net.cfg:5: \[upsample\]: its largest tensor"),
        ("[route]\nlayers=-1,-1\n" * 30, "would be|channels"),
        ("[upsample]\nstride=" + "9" * 200, r"would be more than 10\^18 numbers"),
    ],
)
def test_a_tensor_that_could_not_exist(text: str, said: str) -> None:
    with pytest.raises(CfgError, match=said) as caught:
        build_layers(parse_cfg(NET + ("[maxpool]\n" if "route" in text else "") + text, "net.cfg"))
    assert "--tensor-limit" in str(caught.value)


def test_the_input_itself_and_the_flag() -> None:
    huge = parse_cfg("[net]\nwidth=99999\nheight=99999\nchannels=3\n[maxpool]\n", "net.cfg")
    with pytest.raises(CfgError, match=r"net.cfg:1: \[net\]: the input would be"):
        build_layers(huge)
    set_tensor_limit(1 << 36)
    assert build_layers(huge)[0].shape == (3, 99999, 99999)
    set_tensor_limit(3 * 32 * 32 - 1)
    with pytest.raises(CfgError, match="the input would be 3072 numbers"):
        build_layers(parse_cfg(NET + "[maxpool]\n"))


def test_sections_but_no_output() -> None:
    graph = channel_graph(build_layers(parse_cfg(NET + "[cost]\n")))
    assert set(graph.pinned.values()) == {"the network's input"}


def test_more_anchors_than_num(caplog: pytest.LogCaptureFixture) -> None:
    """Darknet reads such a file; the mask may name all that are listed."""
    head = "[convolutional]\nfilters=12\n[yolo]\nmask=1,2\nanchors=1,2,3,4,5,6\nclasses=1\nnum=2\n"
    layers = build_layers(parse_cfg(NET + head, "net.cfg"))
    assert layers[1].anchors_px == ((3, 4), (5, 6))  # type: ignore[attr-defined]
    assert "net.cfg:11: [yolo] num=2, but mask= names more of the 3" in caplog.text
    with pytest.raises(CfgError, match="must name anchors"):
        build_layers(parse_cfg(NET + head.replace("mask=1,2", "mask=1,3")))


@pytest.mark.parametrize("data", [b"\xff\xfe", b"[", b"[" * 9999, b'{"format": 1}'])
def test_a_plan_that_is_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "p.plan.json"
    path.write_bytes(data)
    with pytest.raises(UserError, match="plan of a pruned cfg"):
        read_links(path, None, build_layers(parse_cfg(corpus.CFG)))


@pytest.mark.parametrize("value", ["1e999", "NaN", "1.5", '"1"', "null", "true", "9" * 5000])
def test_a_plan_with_odd_numbers(tmp_path: Path, value: str) -> None:
    path = tmp_path / "p.plan.json"
    text = '{"format": 1, "layers": [{"layer": 0, "of": 0, "channels": [VALUE]}]}'
    path.write_text(text.replace("VALUE", value))
    with pytest.raises(UserError, match="plan of a pruned cfg"):
        read_links(path, None, build_layers(parse_cfg(corpus.CFG)))


YAMLS = [
    "2001-99-99", "!!float x", "9" * 5000,  "!!int ''", "!!timestamp x", "!!binary é",
    "[" * 2000, "&a [*a]",
]  # fmt: skip


@pytest.mark.parametrize("value", YAMLS)
def test_yaml_that_no_value_can_be_made_of(tmp_path: Path, value: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"lr0: {value}\nnames: {value}\n")
    with pytest.raises(UserError, match=r"x\.yaml: not YAML"):
        hyp_flags(str(path), make_parser(None, ()))
    with pytest.raises(UserError, match=r"x\.yaml: not YAML"):
        read_ultralytics(path, None)


def test_aliases_that_stand_for_more_than_memory(tmp_path: Path) -> None:
    """Nine lines: each holds the one before ten times."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 9)]
    path = tmp_path / "x.yaml"
    path.write_text("\n".join([*lines, "names: *a8\n"]))
    with pytest.raises(UserError, match="aliases stand for more"):
        read_ultralytics(path, None)


@pytest.mark.parametrize("value", [None, "x", [1], {}, True, 1.5, math.inf])
@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("images", "id"), ("images", "file_name"), ("annotations", "image_id"),
        ("annotations", "category_id"), ("annotations", "bbox"), ("categories", "id"),
        ("categories", "name"),
    ],
)  # fmt: skip
def test_coco_of_the_wrong_kinds(tmp_path: Path, table: str, key: str, value: Any) -> None:
    corpus.write_coco(tmp_path)
    content = corpus.coco()
    content[table][0][key] = value
    (tmp_path / "instances_train.json").write_text(json.dumps(content))
    if (value == "x" and key in ("file_name", "name")) or (value is True and key == "name"):
        assert len(read_coco(tmp_path, None).names) == 2
        return
    with pytest.raises(UserError, match=rf"{table}\[0\]|not JSON"):
        read_coco(tmp_path, None)


@pytest.mark.parametrize("encoding", ["shift_jis", "gbk", "utf-16", "latin-1"])
def test_voc_in_many_encodings(tmp_path: Path, encoding: str) -> None:
    corpus.write_voc(tmp_path)
    text = corpus.VOC.format(name="0.png").replace("UTF-8", encoding)
    (tmp_path / "0.xml").write_bytes(text.encode(encoding))
    assert read_voc(tmp_path, None).names == ["cat", "dog"]


@pytest.mark.parametrize("encoding", ["nowhere", "base64"])
def test_voc_in_no_encoding(tmp_path: Path, encoding: str) -> None:
    corpus.write_voc(tmp_path)
    (tmp_path / "0.xml").write_text(corpus.VOC.replace("UTF-8", encoding))
    with pytest.raises(UserError, match="not XML"):
        read_voc(tmp_path, None)


def test_entities_are_seen_in_any_encoding(tmp_path: Path) -> None:
    """A harmless one: it is refused for what it is, not for what it does."""
    corpus.write_voc(tmp_path)
    text = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>'
    (tmp_path / "0.xml").write_bytes(text.encode("utf-16"))
    with pytest.raises(UserError, match="XML entities"):
        read_voc(tmp_path, None)


@pytest.mark.parametrize("side", ["nan", "inf", "-1", "1e999"])
def test_voc_with_sides_that_are_none(tmp_path: Path, side: str) -> None:
    corpus.write_voc(tmp_path)
    text = corpus.VOC.format(name="0.png").replace("<height>48", f"<height>{side}")
    (tmp_path / "0.xml").write_text(text)
    assert sum(map(len, read_voc(tmp_path, None).splits.values())) == 3


ODD_NAMES = ["", "a\nb", "a\x85b", "\u2028", "\0", "\ud800", " ", "a\x1cb", "\ufeffa", "dog"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_class_keeps_its_place_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    corpus.write_coco(tmp_path)
    content = corpus.coco()
    content["categories"].insert(0, {"id": 0, "name": name})
    (tmp_path / "instances_train.json").write_text(json.dumps(content))
    collected = read_coco(tmp_path, None)
    spec = load_data_file(write_darknet(collected, tmp_path / "out", link=True))
    assert len(spec.names) == len(collected.names)
    assert spec.names[collected.names.index("cat")] == "cat"
    assert all(spec.names)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "a.png"
    os.mkfifo(pipe)
    for read in (image_size, read_image):
        with pytest.raises(UnreadableImageError, match="a pipe or a device"):
            read(pipe)
    with pytest.raises(UserError, match="a pipe or a device"):
        read_text(pipe, "a list", 100)


def png(height: int, width: int) -> bytes:
    """The start of a PNG file that states a size; no pixels."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + header + b"\0\0\0\0" + b"\0\0\0\0IDAT"


def test_an_image_of_more_pixels_than_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(30_000, 30_000))
    for read in (image_size, read_image):
        with pytest.raises(UnreadableImageError, match=r"30000 x 30000 pixels .*--tensor-limit"):
            read(path)
    set_tensor_limit(1 << 34)
    assert image_size(path) == (30_000, 30_000)


def test_digits_are_ascii_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("1_0 .5 .5 .1 .1\n\u0661 .5 .5 .1 .1\n1 .5 .5 .1 .1\n")
    rows, problems = read_labels(path, 20)
    assert rows[:, 0].tolist() == [1]
    assert len(problems) == 2


def test_a_long_list_is_read_in_time(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("".join(f"images/{k}.png\n" for k in range(50_000)))
    assert len(load_list(path)) == 50_000


ODD: dict[str, Callable[[], Any]] = {
    "a sparse, nested or quantized tensor": lambda: torch.ones(3).to_sparse(),
    "a tensor without values": lambda: torch.empty(3, device="meta"),
    "a tensor of complex numbers": lambda: torch.ones(3, dtype=torch.complex64),
    "a tensor larger than what is stored of it": lambda: torch.ones(1).expand(1 << 40),
}


@pytest.mark.parametrize("what", ODD)
def test_tensors_that_are_no_weights(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a.pt"
    torch.save({"model": {"layers.0.conv.weight": ODD[what]()}}, path)
    with pytest.raises(UserError, match=f"layers.0.conv.weight is {what}"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("seen", "x"), ("seen", math.nan), ("seen", -1), ("cfg", 3), ("seen", None)],
)
def test_what_stands_beside_the_weights(tmp_path: Path, key: str, value: Any) -> None:
    torch.save({**corpus.checkpoint(), key: value}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=f"its '{key}' is no"):
        Darknet(small_detector().cfg, weights=tmp_path / "a.pt")


@pytest.mark.parametrize(
    "key",
    ["epoch", "step", "best_fitness", "results", "args", "optimizer", "scaler", "rng", "raw"],
)
@pytest.mark.parametrize("value", [None, "x", [1], True])
def test_a_state_of_training_that_is_none(tmp_path: Path, key: str, value: Any) -> None:
    torch.save({**corpus.checkpoint(), key: value}, tmp_path / "last.pt")
    with pytest.raises(UserError, match=rf"its '{key}' is not what|no state of training"):
        load_for_resume(tmp_path / "last.pt")
    torch.save(corpus.checkpoint(), tmp_path / "last.pt")
    assert load_for_resume(tmp_path / "last.pt")["epoch"] == 1


def test_names_may_be_numbers(tmp_path: Path) -> None:
    corpus.write_set(tmp_path)
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({**corpus.data_yaml(), "names": [0, 1.5]}))
    assert read_ultralytics(tmp_path / "data.yaml", None).names == ["0", "1.5"]


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "", "gone.pt"])
def test_a_run_that_says_it_began_with_no_file(tmp_path: Path, name: str) -> None:
    told = {"sparsity_regularization": True, "weights": name}
    (tmp_path / "args.json").write_text(json.dumps(told))
    assert started_from(tmp_path / "last.pt") == ""


@pytest.mark.parametrize("images", ["/", [["/", ""]], "images/" + "../" * 40])
def test_a_whole_disk_is_not_looked_through(tmp_path: Path, images: Any) -> None:
    corpus.write_set(tmp_path)
    settings = {**corpus.data_yaml(), "train": images}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(UserError, match="is a whole disk"):
        read_ultralytics(tmp_path / "data.yaml", None)


def test_a_tree_of_classes_is_text_of_some_size(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_bytes(b"a -1\n" * 3_400_000)
    (tmp_path / "bytes").write_bytes(b"\xff\xff\xff")
    for name in ("pipe", "long", "bytes"):
        with pytest.raises(UserError, match=name):
            read_tree(tmp_path / name)


@pytest.mark.parametrize(
    "told",
    [
        {"layout": "deepstream"}, {"layout": "nothing"}, {"layout": "yolov8", "names": "[" * 9999},
        {"layout": "deepstream", "names": "[]"}, {"names": '{"a": 1}'}, {"classes": "1e9"},
        {"classes": "x"},
    ],
)  # fmt: skip
def test_onnx_files_that_say_odd_things_of_themselves(tmp_path: Path, told: Any) -> None:
    pytest.importorskip("onnxruntime")
    exported.write_told(tmp_path)
    (tmp_path / "told.json").write_text(json.dumps({**exported.TOLD, **told}))
    try:
        exported.read_onnx(tmp_path)
    except UserError as error:
        assert "do not lie as it says" in str(error) or "export.py writes" in str(error)


def test_as_many_weights_as_yolov4_p7_has() -> None:
    """287 million; half as many again is too much."""
    wide = "[convolutional]\nfilters=4096\nsize=3\npad=1\n"
    two = NET.replace("channels=3", "channels=4096") + 1 * wide
    assert len(build_layers(parse_cfg(two + wide.replace("4096", "3500")))) == 2
    with pytest.raises(CfgError, match="those of the network would be"):
        build_layers(parse_cfg(two + 2 * wide))
