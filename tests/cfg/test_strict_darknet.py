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
        ["filters", "size", "activation"],
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


def test_our_own_cfgs_pass(root: Path) -> None:
    """Cleaning leaves the layers of each family's cfg as they are."""
    for name in ("yolov3-tiny", "yolov4", "yolov4-csp", "demo"):
        cfg = parse_cfg((root / f"cfg/{name}.cfg").read_text(), name)
        for before, after in zip(keys(cfg)[1:], keys(strict_cfg(cfg))[1:], strict=True):
            assert before == after
