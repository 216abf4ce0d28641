"""cfginfo.py --for: sections that RKNN's load_darknet is known to hit, and widths per target."""

from __future__ import annotations

from pathlib import Path

import pytest

import cfginfo
from tests.support.nets import conv, head, net, rules, section
from utils.cfg import format_cfg, load_cfg
from utils.describe.target import width_line
from utils.runtimes.targets.advice import ADVICE
from utils.runtimes.targets.names import TARGETS
from utils.runtimes.targets.rknn import RULES, hits

# A rule that is hit once by each, in order: a layer between two that are right everywhere.
HIT = {
    "activation becomes linear": conv(8, activation="swish"),
    "relu6": conv(8, activation="relu6"),
    "its activation": conv(8, activation="hard_mish"),
    "dilation": conv(8, dilation=2),
    "one group": conv(8, groups=2),
    "without pad": conv(8, pad=None, padding=1),
    "scale": section("upsample", stride=2, scale=0.5),
    "size 3 at stride 2": section("maxpool", size=3, stride=2),
    "its size and stride": section("maxpool", size=5, stride=1),
    "not supported": section("dropout", probability=0.5),
    "this kind": section("reorg", stride=2),
}


@pytest.mark.parametrize("what", HIT)
def test_what_load_darknet_computes_otherwise(what: str) -> None:
    """The table of shared/runtimes.md, each fact by one layer; those around it are not accused."""
    (found,) = hits(net(conv(8), HIT[what], conv(8), head()))
    assert what in found.what and found.layer == 1
    assert f"layer 1 [{found.kind}], line {found.line}:" in str(found)


def test_what_it_computes_as_darknet_does() -> None:
    layers = [
        conv(8), conv(8, activation="mish"), conv(8, activation="linear"),
        section("maxpool", size=2, stride=1), section("maxpool", size=3, stride=1),
        section("maxpool", size=2, stride=2), section("shortcut", frm=-2, activation="leaky"),
        section("route", layers=-1, groups=2, group_id=1), section("upsample", stride=4), head(),
    ]  # fmt: skip
    assert hits(net(*layers)) == []


def test_verdicts() -> None:
    """What goes wrong silently is told from what ends with an error."""
    said = {name: hits(net(conv(8), layer, head()))[0].verdict for name, layer in HIT.items()}
    assert {name for name, verdict in said.items() if verdict == "wrong"} == {
        "activation becomes linear", "dilation", "scale", "size 3 at stride 2",
    }  # fmt: skip
    assert {name for name, verdict in said.items() if verdict == "refused"} == {
        "relu6", "one group", "without pad", "not supported",
    }  # fmt: skip
    assert len(RULES) == len({(rule.kinds, rule.what, rule.verdict) for rule in RULES})


def test_networks_that_users_have(root: Path) -> None:
    """YOLOv8 is wrong at every head there (swish), yolov3-tiny and yolov4-tiny are right."""
    for name in ("yolov3-tiny", "yolov4-tiny"):
        found = hits(load_cfg(root / f"cfg/{name}.cfg"))
        assert [one for one in found if one.verdict != "untried"] == []
    wrong = [one for one in hits(load_cfg(root / "cfg/yolov8n.cfg")) if one.verdict == "wrong"]
    assert len(wrong) > 40


def test_widths() -> None:
    """A head's own convolution has the width that it must have."""
    layers = rules(conv(8), conv(12), conv(9), head(), hw=(32, 32))
    assert "2 of 3 layers with a kernel have another width" in width_line(layers, "onnx")
    assert width_line(layers, "litert").startswith("prune to any width (")
    assert set(ADVICE) == set(TARGETS)


def test_as_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.cfg"
    path.write_text(format_cfg(net(conv(8), conv(8, activation="swish"), head())))
    cfginfo.main(["--cfg", str(path), "--for", "rknn"])
    said = capsys.readouterr().out
    assert "load_darknet: layer 1 [convolutional]" in said and "WRONG without a word" in said
    cfginfo.main(["--cfg", str(path), "--for", "litert"])
    said = capsys.readouterr().out
    assert "--format litert" in said and "load_darknet" not in said
    with pytest.raises(SystemExit):
        cfginfo.main(["--cfg", str(path), "--for", "toaster"])
