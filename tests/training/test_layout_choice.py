"""The layout in memory that a long training tries, keeps, and takes again when it goes on."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import train
from models import Darknet
from tests.support.nets import conv, head, net
from tests.support.training_project import content, run
from utils.training import build as build_module
from utils.training.optimization import layout as layout_module
from utils.training.optimization.layout import Work, faster_layout, warn_if_slower
from utils.training.optimization.precision import Precision

SHAPE = (3, 32, 32)
FLOAT32 = Precision("cpu", torch.float32)
LONG = Work(batch_size=2, steps=10**6, macs=10**9)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Darknet:
    """A network; what is noted goes to a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return Darknet(net(conv(8), conv(14, 1), head()))


def pretend(monkeypatch: pytest.MonkeyPatch, last_s: float, first_s: float) -> list[bool]:
    """Steps that take so many seconds on a clock of their own; the layouts that were tried."""
    tried: list[bool] = []
    now = [0.0]

    def step_of(*given: Any) -> Callable[[], None]:
        def step() -> None:
            tried.append(given[-1])
            now[0] += last_s if given[-1] else first_s

        return step

    monkeypatch.setattr(layout_module, "_step", step_of)
    monkeypatch.setattr(layout_module.time, "perf_counter", lambda: now[0])
    return tried


@pytest.mark.parametrize(
    ("last_s", "first_s", "chosen"), [(1.0, 0.8, False), (1.0, 0.97, True), (1.0, 1.3, True)]
)
def test_the_usual_layout_stays_unless_the_other_is_clearly_faster(
    small: Darknet, monkeypatch: pytest.MonkeyPatch, last_s: float, first_s: float, chosen: bool
) -> None:
    tried = pretend(monkeypatch, last_s, first_s)
    assert faster_layout(small, SHAPE, FLOAT32, LONG, "a cfg") == chosen
    assert tried == [True, False] * (1 + layout_module.TIMED_STEPS)  # in turns
    # Noted: the next training of this network asks the note, another one does not.
    assert faster_layout(small, SHAPE, FLOAT32, LONG, "a cfg") == chosen
    assert len(tried) == 2 * (1 + layout_module.TIMED_STEPS)
    faster_layout(small, SHAPE, FLOAT32, LONG, "another cfg")
    faster_layout(small, SHAPE, FLOAT32, replace(LONG, batch_size=3), "a cfg")
    assert len(tried) == 6 * (1 + layout_module.TIMED_STEPS)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"channels_last": 1}', "\0" * 70_000])
def test_a_note_that_says_nothing_is_made_anew(
    small: Darknet, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    pretend(monkeypatch, 1.0, 0.5)
    faster_layout(small, SHAPE, FLOAT32, LONG, "a cfg")
    (note,) = layout_module.cache_folder().iterdir()
    note.write_text(text)
    assert faster_layout(small, SHAPE, FLOAT32, LONG, "a cfg") is False
    assert json.loads(note.read_text()) == {"channels_last": False}


def test_where_no_file_can_be_left_the_choice_is_made_all_the_same(
    small: Darknet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, 1.0, 0.5)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert faster_layout(small, SHAPE, FLOAT32, LONG, "a cfg") is False


def test_short_trainings_and_gpus_try_nothing(
    small: Darknet, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = pretend(monkeypatch, 1.0, 0.5)
    for work in (replace(LONG, steps=layout_module.LEAST_STEPS - 1), replace(LONG, macs=10)):
        assert faster_layout(small, SHAPE, FLOAT32, work, "a cfg") is True
    assert faster_layout(small, SHAPE, Precision("cuda", torch.float16), LONG, "a cfg") is True
    assert tried == []


def test_trying_changes_neither_the_network_nor_chance(small: Darknet) -> None:
    small.train()
    before = {key: tensor.clone() for key, tensor in small.state_dict().items()}
    chance = torch.get_rng_state()
    assert faster_layout(small, SHAPE, FLOAT32, LONG, "a cfg") in (True, False)
    assert all(torch.equal(before[key], tensor) for key, tensor in small.state_dict().items())
    assert torch.equal(chance, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in small.parameters())


def test_a_type_without_units_is_told_with_its_factor(
    small: Darknet, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        warn_if_slower(small, SHAPE, Precision("cpu", torch.bfloat16), 2)
    assert "does not multiply bfloat16" in caplog.text
    assert "times the processor time of float32" in caplog.text


def test_a_run_keeps_its_layout_when_it_goes_on(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(build_module, "faster_layout", lambda *_: False)
    with caplog.at_level(logging.INFO):
        folder = run("--epochs", "1")
    assert json.loads((folder / "args.json").read_text())["channels_last"] is False
    assert "channels first (by default)" in caplog.text
    monkeypatch.setattr(build_module, "faster_layout", lambda *_: True)
    train.main(["--resume", "--epochs", "2"])
    assert content(folder / "last.pt")["args"]["channels_last"] is False
    given = run("--epochs", "1", "--channels-last", "--name", "given")
    assert json.loads((given / "args.json").read_text())["channels_last"] is True
