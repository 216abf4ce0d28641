"""The cfg zoo: the committed files are what the code writes, and say what Darknet's own say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models import Darknet
from utils.cfg import Cfg, CfgError, Section, load_cfg, parse_cfg, replace_layers, set_option
from utils.command.errors import UserError
from utils.zoo import ZOO
from utils.zoo.__main__ import main
from utils.zoo.draft import Draft

PUBLISHED = ("yolov3", "yolov3-spp", "yolov3-tiny", "yolov4", "yolov4-csp", "yolov4-tiny")


def meaning(section: Section) -> tuple[str, dict[str, object]]:
    """What a section says, however it is written: `.7` is 0.7, order and spaces mean nothing."""
    options: dict[str, object] = {}
    for key in section.options:
        try:
            options[key] = section.numbers(key)
        except CfgError:
            options[key] = section.text(key)
    return section.kind, options


def differences(ours: Cfg, theirs: Cfg) -> list[int]:
    """Positions (-1 is `[net]`) of the sections that say different things."""
    pairs = zip((ours.net, *ours.layers), (theirs.net, *theirs.layers), strict=True)
    return [i for i, (a, b) in enumerate(pairs, -1) if meaning(a) != meaning(b)]


@pytest.mark.parametrize("name", ZOO)
def test_committed_file_is_what_the_code_writes(name: str, root: Path) -> None:
    committed = (root / "cfg" / f"{name}.cfg").read_bytes().decode("ascii")
    assert committed == ZOO[name]()
    assert "\r" not in committed


@pytest.mark.parametrize("name", PUBLISHED)
def test_equals_the_published_cfg(name: str, shared: Path) -> None:
    published = load_cfg(shared / "golden" / "cfg" / f"{name}.cfg")
    ours = parse_cfg(ZOO[name]())
    assert differences(ours, published) == []

    last = len(ours.layers) - 1
    changed = set_option(ours.layers[last], "ignore_thresh", "0.5")
    assert differences(replace_layers(ours, {last: changed}), published) == [last]


@pytest.mark.parametrize("name", PUBLISHED)
def test_text_is_our_own(name: str, shared: Path) -> None:
    published = (shared / "golden" / "cfg" / f"{name}.cfg").read_text(encoding="utf-8")
    assert ZOO[name]() != published


def test_tiny_3l_adds_a_head_to_tiny() -> None:
    """No vector of Darknet's covers it: what is shared is the same, what is new stated here."""
    tiny, three = parse_cfg(ZOO["yolov4-tiny"]()), parse_cfg(ZOO["yolov4-tiny-3l"]())
    heads = [i for i, section in enumerate(three.layers) if section.kind == "yolo"]
    changed = set(range(len(tiny.layers))) & set(heads)
    for i, section in enumerate(tiny.layers):
        if i not in changed:
            assert meaning(section) == meaning(three.layers[i])
    assert heads == [30, 37, 44]
    masks = [three.layers[i].integers("mask") for i in heads]
    assert masks == [(6, 7, 8), (3, 4, 5), (0, 1, 2)]
    assert three.layers[38].integers("layers") == (-3,)
    assert three.layers[41].integers("layers") == (-1, 15)
    assert [three.layers[i].integer("filters") for i in (39, 42, 43)] == [64, 128, 255]
    assert three.net.integer("width") == 608


@pytest.mark.parametrize(
    ("name", "strides"),
    [("yolov3-tiny", (32, 16)), ("yolov4-tiny-3l", (32, 16, 8)), ("demo", (16, 8))],
)
def test_runs(name: str, strides: tuple[int, ...]) -> None:
    model = Darknet(parse_cfg(ZOO[name]()), img_size=(64, 96)).eval()
    with torch.no_grad():
        boxes = model(torch.zeros(1, 3, 64, 96))
    cells = sum((64 // stride) * (96 // stride) for stride in strides)
    assert boxes.shape == (1, 3 * cells, 5 + model.nc)


def test_demo_is_small_and_residual() -> None:
    model = Darknet(parse_cfg(ZOO["demo"]()))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    macs = sum(rule.macs() for rule in model.rules)
    assert model.nc == 3
    assert 0.4e6 < parameters < 1e6
    assert 2 * macs < 0.5e9
    assert sum(section.kind == "shortcut" for section in model.cfg.layers) >= 5


def test_command_writes_what_changed(tmp_path: Path) -> None:
    (tmp_path / "yolov3.cfg").write_text("[net]\n", encoding="utf-8")
    assert {path.stem for path in main(["--output", str(tmp_path)])} == set(ZOO)
    assert main(["--output", str(tmp_path)]) == []
    assert (tmp_path / "yolov3.cfg").read_text(encoding="ascii") == ZOO["yolov3"]()


def test_command_refuses_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        main(["--output", str(tmp_path / "none")])


def test_draft_refuses_a_layer_that_is_not_there() -> None:
    draft = Draft("title")
    draft.conv(8, 3)
    with pytest.raises(ValueError, match="layer 1 cannot read layer 1"):
        draft.route(1)


def test_draft_writes_no_scientific_notation() -> None:
    """One of Darknet's readers takes digits, points and signs only."""
    draft = Draft("title")
    draft.net(decay=0.00001, momentum=0.9, scales=2.0)
    assert "decay=0.00001\nmomentum=0.9\nscales=2\n" in draft.text()
