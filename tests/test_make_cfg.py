"""make_cfg.py: a cfg for another data set, and nothing else changed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from make_cfg import main
from models import Darknet
from utils.cfg import load_cfg, parse_cfg
from utils.command.errors import UserError
from utils.network.for_data.retarget import (
    heads_of,
    with_anchors,
    with_classes,
    with_img_size,
    with_title,
)

TINY = """\
# a comment at the top
[net]
width=64
height=64
channels=3
[convolutional]
filters=4
size=3
stride=2
pad=1
activation=leaky
# this one feeds the coarse head
[convolutional]
size=1
stride=2
filters=14
activation=linear
[yolo]
mask=2,3
anchors=8,8,16,16,24,24,32,32
classes=2
num=4
[route]
layers=0
[convolutional]
size=1
filters=7
activation=linear
[yolo]
mask=0
anchors=8,8,16,16,24,24,32,32
classes=2
num=4
# the end
"""


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    """Ten images of 80x40 with two boxes each, three classes."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "set"
    folder.mkdir()
    names = []
    for number in range(10):
        image = folder / f"{number}.png"
        cv2.imwrite(str(image), np.zeros((40, 80, 3), np.uint8))
        rows = [
            f"{k} 0.5 0.5 {w:.4f} {h:.4f}" for k, (w, h) in enumerate(rng.uniform(0.1, 0.9, (2, 2)))
        ]
        image.with_suffix(".txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
        names.append(image.name)
    (folder / "train.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    (folder / "my.names").write_text("a\nb\nc\n", encoding="utf-8")
    path = folder / "my.data"
    path.write_text(
        "classes=3\ntrain=train.txt\nvalid=train.txt\nnames=my.names\n", encoding="utf-8"
    )
    return path


@pytest.fixture
def cfg_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.cfg"
    path.write_text(TINY, encoding="utf-8")
    return path


def changed_lines(before: str, after: str) -> list[tuple[str, str]]:
    pairs = zip(before.splitlines(), after.splitlines(), strict=True)
    return [(a, b) for a, b in pairs if a != b]


def test_sets_classes_and_filters_and_nothing_else(cfg_file: Path, data_file: Path) -> None:
    output = main(["--cfg", str(cfg_file), "--data", str(data_file)])
    assert output == cfg_file.with_name("tiny-my.cfg")
    title, _, rest = output.read_text(encoding="utf-8").partition("\n")
    assert title == "# tiny.cfg for my.data: 3 classes (make_cfg.py)"
    assert changed_lines(TINY, rest) == [
        ("filters=14", "filters=16"),
        ("classes=2", "classes=3"),
        ("filters=7", "filters=8"),
        ("classes=2", "classes=3"),
    ]
    assert Darknet(output).nc == 3
    assert cfg_file.read_text(encoding="utf-8") == TINY


def test_finds_anchors_at_the_network_size(
    cfg_file: Path, data_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--cfg", str(cfg_file), "--data", str(data_file), "--anchors", "--img-size"]
    small = load_cfg(main([*arguments, "64", "128"]))
    shown = capsys.readouterr().out
    large = load_cfg(main([*arguments, "128", "256", "--force"]))
    assert (large.net.integer("height"), large.net.integer("width")) == (128, 256)
    coarse, fine = small.layers[2], small.layers[5]
    assert (coarse.integers("mask"), fine.integers("mask")) == ((1, 2), (0,))
    assert coarse.integer("num") == 3
    assert coarse.text("anchors") == fine.text("anchors")
    anchors_px = np.array(coarse.numbers("anchors")).reshape(3, 2)
    assert (np.diff(anchors_px.prod(1)) > 0).all()
    np.testing.assert_allclose(
        large.layers[2].numbers("anchors"), 2 * anchors_px.ravel(), atol=0.11
    )
    before, after = (
        float(text) for text in shown.split("best anchor: ")[1].split("\n")[0].split(" -> ")
    )
    assert after > before + 0.05


def test_same_seed_same_file(cfg_file: Path, data_file: Path, tmp_path: Path) -> None:
    arguments = ["--cfg", str(cfg_file), "--data", str(data_file), "--anchors", "--output"]
    first, second = (main([*arguments, str(tmp_path / name)]) for name in ("a.cfg", "b.cfg"))
    assert first.read_bytes() == second.read_bytes()


def test_never_replaces_a_file_unasked(cfg_file: Path, data_file: Path) -> None:
    arguments = ["--cfg", str(cfg_file), "--data", str(data_file)]
    output = main(arguments)
    output.write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="--force"):
        main(arguments)
    assert output.read_text(encoding="utf-8") == "mine"
    assert main([*arguments, "--force"]) == output
    assert output.read_text(encoding="utf-8") != "mine"


@pytest.mark.parametrize(
    "name", ["yolov3", "yolov3-spp", "yolov3-tiny", "yolov4", "yolov4-csp", "yolov4-tiny-3l"]
)
def test_zoo_for_one_class(name: str, root: Path) -> None:
    cfg = load_cfg(root / "cfg" / f"{name}.cfg")
    one = with_classes(cfg, 1)
    heads = [i for i, section in enumerate(one.layers) if section.kind == "yolo"]
    assert [one.layers[i].integer("classes") for i in heads] == [1] * len(heads)
    assert [one.layers[i - 1].integer("filters") for i in heads] == [18] * len(heads)
    others = set(range(len(cfg.layers))) - {j for i in heads for j in (i - 1, i)}
    assert all(one.layers[i] == cfg.layers[i] for i in others)


@pytest.mark.parametrize(
    ("name", "same"),
    [("yolov3", True), ("yolov4", True), ("yolov3-tiny", True), ("yolov4-tiny", False)],
)
def test_masks_of_the_zoo_follow_the_strides(name: str, same: bool, root: Path) -> None:
    """YOLOv4-tiny as published uses anchor 3 twice and anchor 0 never; with anchors of one's own
    each is used once."""
    cfg = load_cfg(root / "cfg" / f"{name}.cfg")
    heads = [section for section in cfg.layers if section.kind == "yolo"]
    count = heads[0].integer("num")
    sizes = np.arange(1.0, 2 * count + 1).reshape(count, 2)
    changed = [s for s in with_anchors(cfg, sizes).layers if s.kind == "yolo"]
    masks = [section.integers("mask") for section in changed]
    assert ([section.integers("mask") for section in heads] == masks) == same
    assert sorted(k for mask in masks for k in mask) == list(range(count))


def test_anchors_in_cells_stay_in_cells() -> None:
    """`[region]` counts in cells of 32 pixels, and its one head has no mask."""
    cfg = parse_cfg(
        "[net]\nwidth=64\nheight=64\nchannels=3\n"
        "[convolutional]\nsize=1\nstride=32\nfilters=14\nactivation=linear\n"
        "[region]\nanchors=1.08,1.19,3.42,4.41\nclasses=2\ncoords=4\nnum=2\nsoftmax=1\n"
    )
    changed = with_classes(with_anchors(cfg, np.array([[16.0, 8.0], [32.0, 48.5]])), 5)
    head = changed.layers[1]
    assert head.numbers("anchors") == (0.5, 0.25, 1, 1.516)
    assert not head.has("mask")
    assert changed.layers[0].integer("filters") == 20
    assert heads_of(changed)[0].anchors_px == pytest.approx(
        np.array([[16.0, 8.0], [32.0, 48.5]]), abs=0.02
    )


def test_head_without_a_convolution_is_refused() -> None:
    cfg = parse_cfg(
        TINY.replace("activation=linear\n[yolo]", "activation=linear\n[dropout]\n[yolo]", 1)
    )
    with pytest.raises(UserError, match=r"\[dropout\].*feeds the \[yolo\] head at layer 3"):
        with_classes(cfg, 3)


def test_cfg_without_heads_is_refused() -> None:
    with pytest.raises(UserError, match="no detection head"):
        with_classes(parse_cfg(TINY.split("# this one")[0]), 3)


def test_size_that_strides_do_not_divide_is_refused() -> None:
    cfg = parse_cfg(TINY)
    assert with_img_size(cfg, (32, 96)).net.integer("width") == 96
    with pytest.raises(UserError, match="multiples of 4"):
        with_img_size(cfg, (32, 30))


def test_title_is_one_line_of_ascii() -> None:
    cfg = with_title(parse_cfg(TINY), ["für x\n[net].cfg"])
    assert cfg.preamble[0].text == "# f\\xfcr x\\n[net].cfg\n"
    assert parse_cfg("".join(line.text for line in cfg.preamble) + "[net]\n").layers == ()


def test_replaced_activation(
    tmp_path: Path, data_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The old weights fit, the numbers change, and the command to come names both networks."""
    source, copy = tmp_path / "tiny.cfg", tmp_path / "copy.cfg"
    source.write_text(TINY)
    words = ["--cfg", str(source), "--data", str(data_file), "--output", str(copy)]
    main([*words, "--replace-activation", "leaky=relu", "--for", "rknn"])
    text = copy.read_text()
    assert "activation=relu" in text
    assert "leaky" not in text
    told = capsys.readouterr().out
    assert "load_darknet" in told
    assert f"--t-cfg {source}" in told
    torch.manual_seed(0)
    network = Darknet(main([*words, "--force"])).eval()
    other = Darknet(main([*words, "--force", "--replace-activation", "leaky=relu"])).eval()
    other.load_state_dict(network.state_dict())
    x = torch.rand(1, 3, 64, 64)
    assert not torch.equal(network(x)[0], other(x)[0])
    back = Darknet(main([*words, "--force"])).eval()
    back.load_state_dict(other.state_dict())
    assert torch.equal(network(x)[0], back(x)[0])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mish=leaky"], "no section has activation=mish; there are: linear (2), leaky (1)"),
        (["leaky=soft"], "copy.cfg:11: [convolutional] activation: unknown activation 'soft'"),
    ],
)
def test_refused_replacements(words: list[str], said: str, tmp_path: Path, data_file: Path) -> None:
    source, copy = tmp_path / "tiny.cfg", tmp_path / "copy.cfg"
    source.write_text(TINY)
    flags = ["--cfg", str(source), "--data", str(data_file), "--output", str(copy)]
    with pytest.raises(UserError) as error:
        main([*flags, "--replace-activation", *words])
    assert said in str(error.value).replace(str(source), "copy.cfg")
    assert not copy.exists()
