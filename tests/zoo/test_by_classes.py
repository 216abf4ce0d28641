"""Networks whose widths go by the classes: as many parameters as the library's own have."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from make_cfg import main
from models import Darknet
from utils.cfg import CfgError, format_cfg, load_cfg, parse_cfg
from utils.command.errors import UserError
from utils.network.cost import count_parameters
from utils.network.initialize import initialize
from utils.network.layers import Dfl, build_layers
from utils.network.two_sets import has_two_sets
from utils.zoo import BY_CLASSES, ZOO
from utils.zoo.by_classes import for_so_many, fresh_cfg

# Trainable parameters of ultralytics 8.4.190 for 80 classes and for 3 (counted without the 16
# numbers 0..15 of its distributions, which it does not train).
PUBLISHED = {
    "yolov8n": (3157184, 3011417), "yolov8s": (11166544, 11136745),
    "yolov8m": (25902624, 25858041), "yolov8l": (43691504, 43632137),
    "yolov8x": (68229632, 68155481),
    "yolov10n": (2775504, 2708194), "yolov10s": (8128256, 8068658),
    "yolov10m": (16576752, 16487586), "yolov10b": (20574368, 20455634),
    "yolov10l": (25888672, 25769938), "yolov10x": (31808944, 31660642),
    "yolo11n": (2624064, 2590409), "yolo11s": (9458736, 9428937),
    "yolo11m": (20114672, 20055305), "yolo11l": (25372144, 25312777),
    "yolo11x": (56966160, 56877225),
    "yolo12n": (2602272, 2568617), "yolo12s": (9284080, 9254281),
    "yolo12m": (20199152, 20139785), "yolo12l": (26450768, 26391401),
    "yolo12x": (59210768, 59121833),
    "yolo26n": (2572280, 2504970), "yolo26s": (10009784, 9950186),
    "yolo26m": (21896248, 21777514), "yolo26l": (26299704, 26180970),
    "yolo26x": (58993368, 58815498),
}  # fmt: skip
# The factors of the residuals are convolutions here, which have biases.
BIASES_OF_FACTORS = {"yolo12l": 1024, "yolo12x": 1536}


def test_every_network_is_in_the_table() -> None:
    assert set(PUBLISHED) == set(BY_CLASSES)
    assert {name for name in ZOO if name in BY_CLASSES} == {f"yolov8{s}" for s in "nsmlx"}


@pytest.mark.parametrize("name", BY_CLASSES)
@pytest.mark.parametrize("which", [0, 1])
def test_parameters(name: str, which: int) -> None:
    layers = build_layers(parse_cfg(BY_CLASSES[name]((80, 3)[which]), name))
    wanted = PUBLISHED[name][which] + BIASES_OF_FACTORS.get(name, 0)
    assert count_parameters(layers) == wanted
    assert has_two_sets(layers) is name.startswith(("yolov10", "yolo26"))
    heads = [layer for layer in layers if isinstance(layer, Dfl)]
    assert {head.nc for head in heads} == {(80, 3)[which]}
    assert [head.stride_px for head in heads[-3:]] == [8, 16, 32]
    assert [head.shape[1] for head in heads[-3:]] == [80, 40, 20]


@pytest.mark.parametrize("name", ["yolov10n", "yolo11n", "yolo12n", "yolo26n"])
@torch.no_grad()
def test_it_runs(name: str) -> None:
    model = Darknet(parse_cfg(BY_CLASSES[name](2), name), img_size=(64, 96)).eval()
    assert model(torch.zeros(1, 3, 64, 96)).shape == (1, 8 * 12 + 4 * 6 + 2 * 3, 7)


def test_starting_values() -> None:
    """The library's: class biases by the objects of an image, sides of 2 cells, small factors."""
    text = BY_CLASSES["yolo26n"](3)
    model = Darknet(parse_cfg(text), img_size=(32, 32))
    initialize(model.layers, model.heads)
    for head in model.heads:
        assert isinstance(head, Dfl)
        boxes, classes = (model.layers[source].conv.bias for source in head.sources)
        prior = 5 / 3 / (640 / head.stride_px) ** 2
        assert torch.allclose(classes.sigmoid(), torch.full((3,), prior))
        assert (boxes == 2).all()
    large = build_layers(parse_cfg(BY_CLASSES["yolo12l"](3)))
    factors = [layer for layer in large if getattr(layer, "initial", None) is not None]
    assert [layer.shape[0] for layer in factors] == [512, 512]
    assert all(layer.traits() == "1x1/1 linear" for layer in factors)
    module = factors[0].module()
    initialize(torch.nn.ModuleList([module]), [])
    assert (module.conv.weight == torch.tensor(0.01)).all()
    for wrong in ('"a"', "true", "1e9", "NaN"):
        with pytest.raises(CfgError, match="must be a number"):
            build_layers(
                parse_cfg(BY_CLASSES["yolo12l"](3).replace("initial 0.01", f"initial {wrong}"))
            )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "my.names").write_text("a\nb\nc\n", encoding="utf-8")
    (tmp_path / "train.txt").write_text("", encoding="utf-8")
    path = tmp_path / "my.data"
    text = f"classes=3\ntrain={tmp_path}/train.txt\nnames={tmp_path}/my.names\n"
    path.write_text(text, encoding="utf-8")
    return path


def test_make_cfg_writes_them_by_name(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    for given, name in (
        ("yolo26n", "yolo26n"), (str(tmp_path / "yolo11n.cfg"), "yolo11n"),
        (str(root / "cfg" / "yolov8n.cfg"), "yolov8n"),
    ):  # fmt: skip
        path = tmp_path / f"made-{name}.cfg"
        main(["--cfg", given, "--data", str(data), "--output", str(path)])
        assert count_parameters(build_layers(load_cfg(path))) == PUBLISHED[name][1]
        assert ("two sets of heads" in capsys.readouterr().out) is (name == "yolo26n")
    with pytest.raises(UserError, match=r"no network of that name; did you mean yolo11"):
        main(["--cfg", "yolo11", "--data", str(data), "--output", str(tmp_path / "x.cfg")])


def test_a_cfg_that_was_changed_is_copied_as_it_is() -> None:
    cfg = fresh_cfg(Path("cfg/yolov8n.cfg"))
    assert format_cfg(for_so_many(cfg, 3)) == BY_CLASSES["yolov8n"](3)
    changed = parse_cfg(format_cfg(cfg).replace("momentum=0.937", "momentum=0.9"), cfg.source)
    assert for_so_many(changed, 3) is changed
