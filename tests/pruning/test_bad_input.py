"""What a user may get wrong: one clear line, exit code 2, and no file left behind; or it works."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layer_channel_prune
import layer_prune
import prune
import shortcut_prune
import slim_prune
from models import Darknet
from tests.support.nets import conv, head, healthy_state, net, section
from tests.support.prune_case import prune_by_flags
from utils.cfg import plain_text
from utils.command.cli import run_main
from utils.network.weights import State
from utils.pruning.report.result import Pruned
from utils.pruning.strategy import Strategy

NET = net(
    conv(8, stride=2), conv(6, 1), conv(8), section("shortcut", frm=-3), conv(8, stride=2), head(),
)  # fmt: skip
HEAD = 5
SCRIPTS = {
    "prune": prune.STRATEGY,
    "shortcut_prune": shortcut_prune.STRATEGY,
    "slim_prune": slim_prune.STRATEGY,
    "layer_prune": layer_prune.STRATEGY,
    "layer_channel_prune": layer_channel_prune.STRATEGY,
}
MAINS = {
    "prune": prune.main,
    "shortcut_prune": shortcut_prune.main,
    "slim_prune": slim_prune.main,
    "layer_prune": layer_prune.main,
    "layer_channel_prune": layer_channel_prune.main,
}
BY_CHANNEL = [name for name, strategy in SCRIPTS.items() if strategy.channels]


def make_inputs(folder: Path, change: Callable[[State], object] | None = None) -> list[str]:
    """my.cfg and my.weights in a folder; the flags that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "my.cfg").write_text(plain_text(NET))
    model = Darknet(NET)
    state = healthy_state(model)
    if change:
        change(state)
    model.load_state(state)
    model.save_weights(folder / "my.weights")
    return ["--cfg", str(folder / "my.cfg"), "--weights", str(folder / "my.weights")]


def flags_of(name: str, ratio: float = 0.5) -> list[str]:
    strategy = SCRIPTS[name]
    flags = [f"{strategy.ratio_flag}={ratio}"] if strategy.channels else []
    return flags + (["--shortcuts", "1"] if strategy.blocks else [])


def pruned(strategy: Strategy, argv: list[str]) -> Pruned:
    found = prune_by_flags(strategy, argv)
    assert isinstance(found, Pruned)
    return found


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs a command that must fail: its one line on stderr; nothing new lies in `tmp_path`."""

    def refusal(name: str, *argv: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *argv])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            run_main(MAINS[name])
        assert end.value.code == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len([line for line in lines if not line.startswith("WARNING")]) == 1, lines
        assert sorted(tmp_path.rglob("*")) == before
        return lines[-1]

    return refusal


# -- ratios ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["prune", "shortcut_prune"])
def test_ratio_0_removes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    found = pruned(SCRIPTS[name], [*make_inputs(tmp_path), *flags_of(name, 0)])
    assert found.after.parameters == found.before.parameters
    assert "0 of 44 channels go (0.0%)" in capsys.readouterr().out


@pytest.mark.parametrize("name", BY_CHANNEL)
def test_ratio_1_leaves_every_layer_a_channel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    found = pruned(SCRIPTS[name], [*make_inputs(tmp_path), *flags_of(name, 1)])
    assert max(found.proof.masked, found.proof.folded) < 1e-9
    said = capsys.readouterr().out
    assert "no layer would lose all its channels" in said
    assert "such layers keep their best channels" in said
    if name != "layer_channel_prune":
        assert all(section.integer("filters", 1) >= 1 for section in found.cfg.layers)
        assert found.cfg.layers[1].integer("filters") == 1


def test_below_the_safe_ratio_there_is_no_such_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pruned(SCRIPTS["slim_prune"], [*make_inputs(tmp_path), "--global-percent=0.1", "--dry-run"])
    assert "above it" not in capsys.readouterr().out


@pytest.mark.parametrize("value", ["-0.1", "1.01", "nan", "half"])
@pytest.mark.parametrize("name", BY_CHANNEL)
def test_ratios_that_are_none(
    tmp_path: Path, refused: Callable[..., str], name: str, value: str
) -> None:
    flag = SCRIPTS[name].ratio_flag
    line = refused(name, *make_inputs(tmp_path), f"{flag}={value}")
    assert flag in line
    assert value in line


# -- layers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_CHANNEL)
def test_a_head_in_only(tmp_path: Path, refused: Callable[..., str], name: str) -> None:
    line = refused(name, *make_inputs(tmp_path), *flags_of(name), "--only", str(HEAD))
    assert (
        line
        == f"error: --only {HEAD}: none of its channels can go: read by the [yolo] head at layer 6"
    )


@pytest.mark.parametrize("name", ["layer_prune", "layer_channel_prune"])
def test_more_blocks_than_there_are(tmp_path: Path, refused: Callable[..., str], name: str) -> None:
    line = refused(name, *make_inputs(tmp_path), "--shortcuts", "2")
    assert line.startswith("error: 2 shortcuts cannot go: the network has 1 residual blocks")


# -- numbers ---------------------------------------------------------------------------------------


def test_tiny_variances_of_real_files_work(tmp_path: Path) -> None:
    """Subnormal ones, also below 0, as the known files hold; the epsilon makes up for them."""

    def change(state: State) -> None:
        state["layers.1.bn.running_var"][:2] = state["layers.1.bn.running_var"].new_tensor(
            [5.6e-45, -7e-44]
        )
        assert float(state["layers.1.bn.running_var"][1]) < 0

    argv = make_inputs(tmp_path, change)
    for name in SCRIPTS:
        found = pruned(SCRIPTS[name], [*argv, *flags_of(name), "--dry-run"])
        assert max(found.proof.masked, found.proof.folded) < 1e-9


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_really_negative_variance(tmp_path: Path, refused: Callable[..., str], name: str) -> None:
    argv = make_inputs(tmp_path, lambda state: state["layers.1.bn.running_var"][:1].fill_(-0.5))
    line = refused(name, *argv, *flags_of(name))
    path = tmp_path / "my.weights"
    assert line == f"error: {path}: layers.1.bn.running_var holds a negative variance (-0.5)"


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers(
    tmp_path: Path, refused: Callable[..., str], name: str, bad: float
) -> None:
    argv = make_inputs(tmp_path, lambda state: state["layers.2.conv.weight"][0].fill_(bad))
    line = refused(name, *argv, *flags_of(name))
    assert "layers.2.conv.weight holds 54 values that are not finite numbers" in line


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCRIPTS)
def test_cfg_and_weights_that_do_not_fit(
    tmp_path: Path, refused: Callable[..., str], name: str
) -> None:
    argv = make_inputs(tmp_path)
    cfg = tmp_path / "my.cfg"
    cfg.write_text(cfg.read_text().replace("filters=6", "filters=7"))
    line = refused(name, *argv, *flags_of(name))
    assert line.startswith(f"error: {tmp_path / 'my.weights'}: ")
    assert "numbers are missing" in line


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("where", ["cfg", "weights"])
def test_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str], name: str,
    where: str,
) -> None:  # fmt: skip
    """Simulated, as root may write anywhere: a file of the one or the other cannot be made."""
    argv = [*make_inputs(tmp_path), *flags_of(name)]
    right = os.open

    def opened(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if flags & os.O_CREAT and str(path).endswith(f".{where}"):
            raise PermissionError(13, "Permission denied", str(path))
        return right(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", opened)
    line = refused(name, *argv)
    assert line.endswith("cannot be written (Permission denied)")
    monkeypatch.undo()
    assert pruned(SCRIPTS[name], argv).cfg_path.exists()
