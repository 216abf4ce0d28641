"""Networks made from names note the library's modules, as a translated checkpoint does."""

from __future__ import annotations

import pytest

from models import Darknet
from utils.cfg import parse_cfg, read_note
from utils.cfg.module_note import HALVES, LIKE_VALUES, MODEL_NOTE, SCALE, held_by
from utils.network.module_form import equal_counts, require_form
from utils.runtimes.ultralytics.export import description_of
from utils.zoo import BY_CLASSES
from utils.zoo.draft import ConvSpec, Draft
from utils.zoo.modules.names import c2f
from utils.zoo.pyramid import Block, _Placing

NAMES = ("yolov8n", "yolov8m", "yolov10n", "yolov10m", "yolo11n", "yolo12n", "yolo12l", "yolo26n")


@pytest.mark.parametrize("name", NAMES)
def test_each_convolution_has_a_module_of_its_own(name: str) -> None:
    network = Darknet(parse_cfg(BY_CLASSES[name](3), name))
    held = [held_by(layer.section) for layer in network.rules if layer.fields()]
    assert None not in held and len(set(held)) == len(held)
    rows = description_of(network)
    blocks = len(rows["backbone"]) + len(rows["head"])
    numbers = sorted({int(one.module.partition(".")[0]) for one in held if one})
    kinds = [row[2] for row in (*rows["backbone"], *rows["head"])]
    assert numbers == [k for k, kind in enumerate(kinds) if kind not in ("nn.Upsample", "Concat")]
    assert len(kinds) == blocks == numbers[-1] + 1
    # Which layers the head reads are where its own branches start.
    assert rows["head"][-1][0] == [k for k in numbers[-6:-1] if kinds[k][:2] in ("C2", "C3", "A2")]
    require_form(network.rules)
    assert {rule.why.split(" of ")[0] for rule in equal_counts(network.rules)} >= {"are halves"}


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("yolov8n", [-1, 2, "C2f", [64, True]]),
        ("yolov10n", [-1, 1, "C2fCIB", [256, True, True]]),
        ("yolo11n", [-1, 1, "C3k2", [128, True, 0.5]]),
        ("yolo12l", [-1, 4, "A2C2f", [512, True, 4, True, 1.2]]),
        ("yolo26n", [-1, 1, "C3k2", [256, True, 0.5, True]]),
    ],
)
def test_rows_say_widths_and_counts_as_they_are(name: str, row: list[object]) -> None:
    """Nothing is left to the library's own rules of sizes."""
    found = read_note(parse_cfg(BY_CLASSES[name](3)).net, MODEL_NOTE)
    assert row in [*found["backbone"], *found["head"]]
    assert not {"scales", "scale", "depth_multiple"} & found.keys()


def test_parts_of_one_convolution() -> None:
    parts = {
        one.part
        for section in parse_cfg(BY_CLASSES["yolo12l"](3)).layers
        if (one := held_by(section)) is not None
    }
    assert parts >= {*HALVES, LIKE_VALUES, SCALE, ""}


def test_a_block_of_other_convolutions_is_not_noted() -> None:
    """A name too many is a fault of the zoo: what follows would be called by it."""
    draft = Draft("title")
    draft.net(width=64, height=64, channels=3)
    block = Block(lambda inner: inner.put(ConvSpec(8)), c2f(8, 1, True))
    with pytest.raises(ValueError, match=r"C2f: nothing is called \['0.cv1:second'"):
        _Placing(draft).put(block)
