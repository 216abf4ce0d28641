"""--fit and --nms: the cfg decides alike in every command."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import make_cfg
import train
import val
from models import Darknet
from tests.support.nets import head, net, section
from utils.cfg import Cfg, load_cfg, parse_cfg, save_cfg
from utils.command.cli import Parser
from utils.detection import score
from utils.detection.as_the_cfg_says import add_fit, add_nms, chosen_fit, chosen_nms
from utils.detection.evaluate import Collected, EvalOptions
from utils.detection.options import NmsKind
from utils.training import batches, loop
from utils.training.flags import make_parser, typed_flags
from utils.training.options import TrainOptions


@pytest.mark.parametrize(
    ("line", "flag", "fit"),
    [
        ("", "cfg", "stretch"),
        ("letter_box=0", "cfg", "stretch"),
        ("letter_box=1", "cfg", "letterbox"),
        ("letter_box=1", "stretch", "stretch"),
        ("", "letterbox", "letterbox"),
    ],
)
def test_fit(line: str, flag: str, fit: str) -> None:
    assert chosen_fit(flag, parse_cfg(f"[net]\n{line}\n")) == fit


def test_nms() -> None:
    diou = net(head(nms_kind="diounms", beta_nms=0.8)).layers[-1]
    plain = net(head()).layers[-1]
    assert chosen_nms("cfg", diou) == NmsKind("diounms", 0.8)
    assert chosen_nms("cfg", plain) == NmsKind()
    assert chosen_nms("default", diou).exponent is None
    assert chosen_nms("greedynms", diou).exponent == 0.6
    assert chosen_nms("diounms", plain) == NmsKind("diounms", 0.6)


def test_the_cfg_is_the_default_and_nonsense_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(None)
    add_fit(parser)
    add_nms(parser)
    args = parser.parse_args([])
    assert (args.fit, args.nms) == ("cfg", "cfg")
    with pytest.raises(SystemExit):
        parser.parse_args(["--nms", "softnms"])
    assert "greedynms" in capsys.readouterr().err


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two wide images with overlapping objects of one class, in the working directory."""
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((30, 120, 3), 90, np.uint8))
        (tmp_path / f"{name}.txt").write_text("0 .4 .5 .5 .8\n0 .6 .5 .5 .8\n")
    (tmp_path / "list.txt").write_text("a.png\nb.png\n")
    (tmp_path / "my.data").write_text("classes=1\ntrain=list.txt\nvalid=list.txt\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_model(cfg: Cfg, letter_box: int, name: str = "my") -> None:
    """NAME.cfg and NAME.weights, with nothing learnt."""
    text = parse_cfg(f"{section('net', width=32, height=32, channels=3, letter_box=letter_box)}")
    save_cfg(Cfg(text.net, cfg.layers), f"{name}.cfg")
    torch.manual_seed(0)
    Darknet(f"{name}.cfg").save_weights(f"{name}.weights")


FIXED = ["--data", "my.data", "--device", "cpu", "--workers", "0"]
VAL = ["--cfg", "my.cfg", "--weights", "my.weights", *FIXED]


@pytest.mark.parametrize("letter_box", [0, 1])
def test_train_and_val_prepare_images_alike(
    project: Path, letter_box: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(net(head(classes=1, nms_kind="greedynms")), letter_box)
    fits: list[str] = []
    kinds: list[str] = []
    for module in (score, batches):
        whole = module.DetectionDataset

        def watched(*given: object, whole: type = whole, **named: object) -> object:
            fits.append(str(named["fit"]))
            return whole(*given, **named)

        monkeypatch.setattr(module, "DetectionDataset", watched)
    collect = loop.collect

    def watched_collect(
        network: Any, loader: Any, nc: int, found: EvalOptions, progress: bool
    ) -> Collected:
        kinds.append(found.nms_kind.name)
        return collect(network, loader, nc, found, progress)

    for module in (score, loop):
        monkeypatch.setattr(module, "collect", watched_collect)
    val.main(VAL)
    train.main(["--cfg", "my.cfg", *FIXED, "--epochs", "1", "--batch-size", "2"])
    assert fits == ["letterbox" if letter_box else "stretch"] * 3
    assert kinds == ["greedynms"] * 2


@pytest.mark.parametrize(
    ("flags", "letter_box", "warned"),
    [
        ((), 0, False),
        ((), 1, False),
        (("--fit", "letterbox"), 0, True),
        (("--fit", "letterbox"), 1, False),
        (("--fit", "stretch"), 1, True),
        (("--rect",), 0, True),  # which needs a letterbox
        (("--rect",), 1, False),
    ],
)
def test_train_warns_when_the_cfg_says_otherwise(
    project: Path,
    flags: tuple[str, ...],
    letter_box: int,
    warned: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_model(net(head(classes=1)), letter_box)
    with caplog.at_level(logging.WARNING):
        typed = typed_flags(make_parser(None, ("slim_prune",)), ["--cfg", "my.cfg", *flags])
        batches.fit_of_run(TrainOptions.of_flags(typed).images, load_cfg("my.cfg"))
    assert ("letter_box=" in caplog.text) == warned


def test_make_cfg_writes_the_fit_that_it_was_given(project: Path) -> None:
    write_model(net(head(classes=1)), 0)
    command = ["--cfg", "my.cfg", "--data", "my.data"]
    same = load_cfg(make_cfg.main([*command, "--output", "same.cfg"]))
    boxed = load_cfg(make_cfg.main([*command, "--fit", "letterbox", "--output", "boxed.cfg"]))
    again = ["--cfg", "boxed.cfg", "--data", "my.data"]
    kept = load_cfg(make_cfg.main([*again, "--output", "kept.cfg"]))
    back = load_cfg(make_cfg.main([*again, "--fit", "stretch", "--output", "back.cfg"]))
    found = [chosen_fit("cfg", cfg) for cfg in (same, boxed, kept, back)]
    assert found == ["stretch", "letterbox", "letterbox", "stretch"]
