"""--strict-darknet: what hank-ai's fork stops at goes, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models import Darknet
from tests.support.nets import conv, head, healthy_state, image, net, section
from utils.cfg import Cfg, CfgError, parse_cfg, plain_text
from utils.cfg.strict import strict_cfg

MESSY = """[net]
width=64
height=32
channels=3
batch=1
batch=64
max_crop=500
learning_rate=1e-4
policy=poly
steps=100,200
scales=.1,.1
decay=+.0005

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky
my_note=7

[convolutional]
filters=14
filters=99
size=1
activation=linear

[yolo]
mask=0,1
anchors=8,9, 10,14
classes=2
num=2
thresh=.1
"""


def keys(cfg: Cfg) -> list[list[str]]:
    return [[line.key for line in part.lines if line.key] for part in (cfg.net, *cfg.layers)]


def test_what_it_stops_at_goes_and_nothing_else() -> None:
    cfg = parse_cfg(MESSY, "messy.cfg")
    strict = parse_cfg(plain_text(strict_cfg(cfg)), "strict.cfg")
    assert keys(strict) == [
        ["width", "height", "channels", "batch", "learning_rate", "policy", "decay"],
        ["batch_normalize", "filters", "size", "stride", "pad", "activation"],
        ["filters", "size", "activation", "stride"],
        ["mask", "anchors", "classes", "num"],
    ]
    assert strict.net.text("learning_rate") == "0.0001"
    assert strict.net.text("decay") == "0.0005"
    assert strict.net.integer("batch") == 1 and strict.layers[1].integer("filters") == 14
    model = Darknet(cfg)
    state = healthy_state(model)
    model.load_state(state)
    twin = Darknet(strict)
    twin.load_state(state)
    with torch.no_grad():
        assert torch.equal(twin.eval()(image(model)), model.eval()(image(model)))
    # A strict cfg stays as it is.
    assert plain_text(strict_cfg(strict)) == plain_text(strict)


def test_keys_that_depend_on_others_stay_where_they_are_read() -> None:
    text = MESSY.replace("policy=poly", "policy=steps\nadam=1\nB1=.9")
    assert {"steps", "scales", "B1"} <= set(keys(strict_cfg(parse_cfg(text, "a.cfg")))[0])


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (net(conv(8), section("batchnorm"), head()), r"\[batchnorm\].*no such section"),
        (net(conv(8), head(), width=40), "multiples of 32 only, not 40"),
        (parse_cfg(MESSY.replace("stride=2", "clip=much"), "a.cfg"), "'much' is not a number"),
    ],
)
def test_what_it_cannot_run_is_refused(cfg: Cfg, message: str) -> None:
    with pytest.raises(CfgError, match=message):
        strict_cfg(cfg)


def test_weights_per_layer_get_their_other_name() -> None:
    sum_ = section("shortcut", frm=-2, activation="linear", weights_type="per_layer",
                   weights_normalization="relu")  # fmt: skip
    strict = strict_cfg(net(conv(8), conv(8), sum_, head()))
    assert strict.layers[2].text("weights_type") == "per_feature"


def strict_text(*sections: str, net_lines: str = "") -> str:
    """Of a 64 x 64 network of these sections and a head."""
    cfg = net(*sections, head(), width=64, height=64)
    return plain_text(
        strict_cfg(parse_cfg(plain_text(cfg).replace("[net]\n", f"[net]\n{net_lines}")))
    )


def test_names_that_it_does_not_know_are_as_darknet_reads_them() -> None:
    cfg = net(conv(8), head(nms_kind="softnms", iou_loss="siou", iou_thresh_kind="far"))
    text = plain_text(cfg).replace("[net]\n", "[net]\npolicy=cosine\nsteps=10\n")
    strict = strict_cfg(parse_cfg(text))
    (yolo,) = (layer for layer in strict.layers if layer.kind == "yolo")
    assert not strict.net.has("policy") and not strict.net.has("steps")
    assert not yolo.has("nms_kind") and not yolo.has("iou_thresh_kind")
    assert yolo.text("iou_loss") == "iou"
    known = net(conv(8), head(nms_kind="greedynms", iou_loss="ciou", iou_thresh_kind="giou"))
    kept = strict_cfg(known).layers[-1]
    assert [kept.text(key) for key in ("nms_kind", "iou_loss", "iou_thresh_kind")] == [
        "greedynms", "ciou", "giou",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["scale_channels", "sam"])
@pytest.mark.parametrize("activation", ["swish", "mish"])
def test_swish_that_it_lacks_is_refused(kind: str, activation: str) -> None:
    layers = conv(8), section("avgpool") if kind == "scale_channels" else conv(8)
    with pytest.raises(CfgError, match=rf"\[{kind}\] activation: hank-ai's Darknet runs no swish"):
        strict_text(*layers, section(kind, frm=-2, activation=activation))
    assert f"[{kind}]" in strict_text(*layers, section(kind, frm=-2, activation="logistic"))


def test_every_number_of_a_list_is_spelt_out() -> None:
    text = strict_text(conv(8), conv(8), section("route", layers="-1,-2e0"),
                       net_lines="policy=steps\nsteps=1e3,+2000\nscales=1e-1,.1\n")  # fmt: skip
    assert "layers=-1,-2\n" in text
    assert "steps=1000,2000\nscales=0.1,.1\n" in text


def test_comments_begin_with_a_hash() -> None:
    text = strict_text(conv(8) + ";foo=bar\n", net_lines="  ; a=b\n# c=d\n")
    assert "#foo=bar\n" in text and "# a=b\n# c=d\n" in text and ";" not in text
    first = strict_cfg(parse_cfg(";x=y\n" + plain_text(net(conv(8), head()))))
    assert plain_text(first).startswith("#x=y\n[net]")


def test_sizes_that_are_left_out_are_written() -> None:
    bare = section("convolutional", filters=8, activation="leaky")
    padded = section("convolutional", filters=8, size=3, padding=1, activation="leaky")
    odd = section("convolutional", filters=8, size=3, stride_x=1, padding=2, activation="leaky")
    pool = section("maxpool", stride=2)
    cfg = net(bare, padded, odd, pool, head(), width=64, height=64)
    strict = strict_cfg(cfg)
    plain, same, other, pooled = keys_and_values(strict)[1:5]
    assert plain[-2:] == ["size=1", "stride=1"]
    assert {"pad=1", "stride=1"} <= set(same) and "padding=1" not in same
    assert "padding=2" in other and "pad=1" not in other
    assert pooled == ["stride=2", "size=2"]
    before, after = Darknet(cfg), Darknet(parse_cfg(plain_text(strict)))
    state = healthy_state(before)
    before.load_state(state)
    after.load_state(state)
    with torch.no_grad():
        assert torch.equal(after.eval()(image(before)), before.eval()(image(before)))


def keys_and_values(cfg: Cfg) -> list[list[str]]:
    parts = (cfg.net, *cfg.layers)
    return [[f"{line.key}={line.value}" for line in part.lines if line.key] for part in parts]


def test_multiples_of_32_are_asked_for_where_it_looks() -> None:
    """It looks at the input's size only where the last layer is a [yolo] or a [region]."""
    last = section("route", layers="-1")
    assert strict_cfg(net(conv(8), head(), last, width=72, height=72)).net.integer("width") == 72
    with pytest.raises(CfgError, match="multiples of 32 only, not 72"):
        strict_cfg(net(conv(8), head(), width=72, height=64))


def test_our_own_cfgs_pass(root: Path) -> None:
    """Cleaning leaves the layers of each family's cfg as they are."""
    for name in ("yolov3-tiny", "yolov4", "yolov4-csp", "demo"):
        cfg = parse_cfg((root / f"cfg/{name}.cfg").read_text(), name)
        for before, after in zip(keys(cfg)[1:], keys(strict_cfg(cfg))[1:], strict=True):
            assert before == after
