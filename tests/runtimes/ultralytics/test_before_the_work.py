"""What export.py --format ultralytics says before any work, and what it takes from a cfg."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from models import Darknet
from utils.cfg import parse_cfg, read_note, with_net, with_note
from utils.cfg.module_note import HALVES, MODEL_NOTE, Held, held_by, module_line
from utils.command.errors import UserError
from utils.detection.options import Inputs
from utils.network.module_form import equal_counts, modules_of
from utils.runtimes.export.options import ExportOptions
from utils.runtimes.other_python import LIBRARIES, interpreter
from utils.runtimes.ultralytics.export import description_of
from utils.translate.reading.description import model_description

PLAIN = {
    "nc": 3,
    "backbone": [[-1, 1, "Conv", [16, 3, 2]], [-1, 2, "C2f", [32, True]]],
    "head": [[[1], 1, "Detect", ["nc"]]],
}
CFG = """[net]
width=32
height=32
channels=3

[convolutional]
filters=4
size=1
activation=linear

[convolutional]
filters=1
size=1
activation=linear

[route]
# darkslim head {"kind": "dfl", "level": 0, "levels": 1, "stride": 1, "reg_max": 1, "classes": 1}
layers=-2,-1
"""


def described(value: Any) -> Darknet:
    """A network whose cfg has this description."""
    cfg = parse_cfg(CFG, "my.cfg")
    return Darknet(with_net(cfg, with_note(cfg.net, MODEL_NOTE, value)))


def test_which_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert interpreter("ultralytics", sys.executable) == sys.executable
    with pytest.raises(UserError, match="no such file"):
        interpreter("ultralytics", str(tmp_path / "python"))
    where = "utils.runtimes.other_python.find_spec"
    monkeypatch.setattr(where, lambda name: None)
    for kind, library in LIBRARIES.items():
        with pytest.raises(UserError, match=library.install) as caught:
            interpreter(kind, "")
        assert f"--{kind}-python" in str(caught.value) and "\n" not in str(caught.value)
    monkeypatch.setattr(where, lambda name: object())
    assert interpreter("espdl", "") == sys.executable


def test_an_interpreter_by_a_path_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is started in another folder; and a link must not be followed: it is the environment."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    assert interpreter("espdl", "bin/python") == str(tmp_path / "bin" / "python")


def test_flags_that_do_not_go_together() -> None:
    inputs = Inputs("a.cfg", "a/best.pt")
    with pytest.raises(UserError, match="--ultralytics-python is for"):
        ExportOptions(inputs, python="python3")
    with pytest.raises(UserError, match="in float32"):
        ExportOptions(inputs, "ultralytics", half=True)
    # A checkpoint of ours is called best.pt; the other must not take its place.
    assert ExportOptions(inputs, "ultralytics").stem == Path("a/best-ultralytics")
    assert ExportOptions(inputs, "ultralytics", output="b/c").stem == Path("b/c")


def test_a_description_is_plain_data() -> None:
    assert model_description({**PLAIN, "yaml_file": "/home/me/a.yaml"}) == PLAIN
    deep: list[Any] = []
    for _ in range(20):
        deep = [deep]
    for wrong in (None, [], {"nc": 3}, {**PLAIN, "x": object()}, {**PLAIN, "x": deep},
                  {**PLAIN, "x": [0] * 9000}, {**PLAIN, 3: 4}, {**PLAIN, "x": {1: 2}}):  # fmt: skip
        assert model_description(wrong) == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"backbone": [[-1, 1, "attempt_download", ["x"]]]}, "not translated"),
        ({"backbone": [[-1, 1, "nn.Linear", [3]]]}, "not translated"),
        ({"backbone": [["Conv"]]}, "not translated"),
        ({"backbone": "Conv"}, "no description"),
        ({"activation": "__import__('os').system('true')"}, "no activation"),
        ({"activation": "nn.SiLU() or exit()"}, "no activation"),
    ],
)
def test_a_description_names_blocks_only(change: dict[str, Any], said: str) -> None:
    assert description_of(described(PLAIN)) == PLAIN
    assert description_of(described({**PLAIN, "activation": "torch.nn.ReLU()"}))
    with pytest.raises(UserError, match=said):
        description_of(described({**PLAIN, **change}))


def test_a_cfg_without_notes_is_told_so() -> None:
    network = Darknet(parse_cfg(CFG, "my.cfg"))
    with pytest.raises(UserError, match=r"translate\.py"):
        description_of(network)
    with pytest.raises(UserError, match=r"my\.cfg: notes no modules"):
        modules_of(network.rules)
    with pytest.raises(UserError, match=r"my\.cfg: notes no modules"):
        equal_counts(network.rules)


@pytest.mark.parametrize("held", [Held("2.cv1", HALVES[0]), Held("23.cv2.0.2")])
def test_the_note_of_a_module(held: Held) -> None:
    text = CFG.replace("filters=4\n", f"{module_line(held)}\nfilters=4\n")
    section = parse_cfg(text).layers[0]
    assert held_by(section) == held
    assert read_note(section, "module") == held.text()
    for wrong in (3, "", "2.cv1:third", [1]):
        with pytest.raises(UserError, match="names no module"):
            held_by(with_note(section, "module", wrong))
    assert held_by(parse_cfg(CFG).layers[0]) is None
