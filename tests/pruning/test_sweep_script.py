"""Sweeps from the command line: what is printed, what is written, what is refused."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

import layer_channel_prune
import layer_prune
import prune
import slim_prune
from models import Darknet
from tests.support.nets import conv, head, healthy, net, section
from tests.support.prune_case import prune_by_flags
from tests.support.tiny_data import make_set
from utils.cfg import plain_text
from utils.command.errors import UserError
from utils.command.machine.timing import Latency
from utils.detection.figures import ModelFigures
from utils.detection.options import Scoring
from utils.network.cost import count_parameters
from utils.network.darknet import Network
from utils.pruning.command.flags import prune_flags
from utils.pruning.report.result import Pruned
from utils.pruning.strategy import Strategy
from utils.pruning.sweeps.curve import Sweep

TINY = net(
    conv(8, stride=2),
    *[conv(4, 1), conv(8), section("shortcut", frm=-3)] * 3,
    conv(12, stride=2, activation="mish"),
    head(),
)
engine = importlib.import_module("utils.pruning.command.run")  # the package's `run` is the function
SLIM, LAYER, BOTH = slim_prune.STRATEGY, layer_prune.STRATEGY, layer_channel_prune.STRATEGY


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: tiny.cfg, tiny.weights, and a data set of six images."""
    (tmp_path / "tiny.cfg").write_text(plain_text(TINY))
    healthy(TINY).save_weights(tmp_path / "tiny.weights")
    make_set(tmp_path / "set")
    (tmp_path / "set" / "set.names").write_text("disc\nstar\n")
    lists = "valid=set/list.txt\ntrain=set/list.txt\nnames=set/set.names\n"
    (tmp_path / "tiny.data").write_text(f"classes=2\n{lists}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def script(strategy: Strategy, *flags: str) -> Pruned | Sweep:
    files = ["--cfg", "tiny.cfg", "--weights", "tiny.weights", "--workers", "0", "--device", "cpu"]
    return prune_by_flags(strategy, [*files, *flags])


def files(folder: Path) -> set[str]:
    """Everything but the inputs."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(("set", "tiny"))}


def faked(map50: Callable[[float], float]) -> Callable[[Network, Scoring], ModelFigures]:
    """`figures` whose mAP@.5 depends on the share of parameters that is left."""
    whole = count_parameters(Darknet(TINY).rules)

    def figures(
        network: Network, how: Scoring, timed: bool = True, latency: Latency | None = None
    ) -> ModelFigures:
        left = count_parameters(network.rules)
        score = map50(left / whole)
        return ModelFigures(left, 10 * left, 4 * left, Latency(2, 1, 3), score, score / 2)

    return figures


# -- what it writes --------------------------------------------------------------------------


def test_a_sweep_writes_a_table_and_a_picture_and_no_model(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = script(SLIM, "--global-percent", "0.3:0.7:0.2")
    assert isinstance(found, Sweep)
    assert files(folder) == {"runs/sweep/tiny/sweep.csv", "runs/sweep/tiny/sweep.png"}
    with (folder / "runs/sweep/tiny/sweep.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["ratio"] for row in rows] == ["0", "0.3", "0.5", "0.7"]
    counts = [int(row["parameters"]) for row in rows]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == count_parameters(Darknet(TINY).rules) > counts[-1]
    assert {row["map50"] for row in rows} == {""}
    picture = cv2.imread(str(folder / "runs/sweep/tiny/sweep.png"))
    assert min(picture.shape[:2]) > 400
    assert len(set(map(tuple, picture.reshape(-1, 3)[::97].tolist()))) > 3
    said = capsys.readouterr().out
    assert "0.7" in said
    assert "Wrote runs/sweep/tiny/sweep.csv" in said


def test_its_points_are_those_of_the_prunes(folder: Path) -> None:
    found = script(SLIM, "--global-percent", "0.3,0.6", "--dry-run")
    assert isinstance(found, Sweep)
    for point in found.points[1:]:
        one = script(SLIM, "--global-percent", str(point.value), "--dry-run")
        assert isinstance(one, Pruned)
        assert (point.parameters, point.macs) == (one.after.parameters, one.after.macs)
        assert point.file_bytes == one.after.file_bytes
    assert found.points[1].parameters != found.points[2].parameters


def test_another_sweep_gets_another_folder(folder: Path) -> None:
    for _ in range(2):
        script(SLIM, "--global-percent", "0.3,0.5")
    assert {Path(name).parent.name for name in files(folder)} == {"tiny", "tiny-2"}
    script(SLIM, "--global-percent", "0.3,0.5", "--output", "here/there")
    assert "here/there/sweep.csv" in files(folder)


def test_a_dry_sweep_writes_nothing(folder: Path) -> None:
    script(SLIM, "--global-percent", "0.3,0.5", "--dry-run")
    assert files(folder) == set()


def test_a_sweep_with_data_is_scored(folder: Path) -> None:
    found = script(SLIM, "--global-percent", "0.5,0.9", "--data", "tiny.data")
    assert isinstance(found, Sweep)
    assert all(point.map50 is not None and point.latency_ms for point in found.points)


def test_shortcuts(folder: Path) -> None:
    found = script(LAYER, "--shortcuts", "1:3:1")
    assert isinstance(found, Sweep)
    assert [point.value for point in found.points] == [0, 1, 2, 3]
    steps = [a.parameters - b.parameters for a, b in zip(found.points, found.points[1:])]  # noqa: B905
    assert len(set(steps)) == 1  # all blocks are alike
    assert "shortcuts" in (folder / "runs/sweep/tiny/sweep.csv").read_text(encoding="utf-8")


def test_either_of_two_flags(folder: Path) -> None:
    by_ratio = script(BOTH, "--shortcuts", "1", "--global-percent", "0.2,0.4", "--dry-run")
    by_count = script(BOTH, "--shortcuts", "1,2", "--global-percent", "0.4", "--dry-run")
    assert isinstance(by_ratio, Sweep)
    assert isinstance(by_count, Sweep)
    assert (by_ratio.unit, by_count.unit) == ("ratio", "shortcuts")
    assert by_ratio.points[2].parameters == by_count.points[1].parameters
    assert by_ratio.points[1].parameters != by_count.points[1].parameters


# -- the search ------------------------------------------------------------------------------


def test_the_largest_ratio_within_a_drop_is_pruned(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine, "figures", faked(lambda left: 0.8 if left > 0.4 else 0.1))
    found = script(SLIM, "--max-map-drop", "0.02", "--data", "tiny.data")
    assert isinstance(found, Pruned)
    (cfg,) = folder.glob("prune_*_tiny.cfg")
    ratio = float(cfg.name.split("_")[1])
    assert cfg.name == f"prune_{ratio}_keep_0.01_tiny.cfg"
    assert (folder / f"prune_{ratio}_keep_0.01_tiny.weights").is_file()
    assert found.after.map50 == 0.8
    assert f"Chosen: ratio {ratio:g}" in capsys.readouterr().out
    assert "chosen" in (folder / "runs/sweep/tiny/sweep.csv").read_text(encoding="utf-8")
    above = script(SLIM, "--global-percent", f"{ratio + 0.005:.3f}", "--dry-run")
    assert isinstance(above, Pruned)
    assert above.after.map50 == 0.1


def test_a_range_bounds_the_search(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "figures", faked(lambda left: 0.8))
    flags = ["--max-map-drop", "0.02", "--data", "tiny.data"]
    script(SLIM, "--global-percent", "0.1:0.3:0.1", *flags)
    script(LAYER, "--shortcuts", "1,2", *flags)
    assert {name for name in files(folder) if name.endswith(".cfg")} == {
        "prune_0.3_keep_0.01_tiny.cfg",
        "prune_2_shortcut_tiny.cfg",
    }


def test_nothing_is_pruned_where_every_ratio_loses_more(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "figures", faked(lambda left: 0.8 if left == 1 else 0.1))
    flags = ["--max-map-drop", "0.02", "--data", "tiny.data", "--exclude", "0"]
    with pytest.raises(UserError, match=r"--max-map-drop 0.02: .* nothing was pruned"):
        script(SLIM, "--global-percent", "0.2,0.5", *flags)
    assert {Path(name).suffix for name in files(folder)} == {".csv", ".png"}


# -- what it refuses -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "flags", "part"),
    [
        (SLIM, ["--max-map-drop", "0.02"], "needs --data"),
        (SLIM, ["--global-percent", "0.5", "--max-map-drop", "0.02"], "give a range"),
        (LAYER, ["--shortcuts", "2", "--max-map-drop", "0.02"], "give a range, as 2:16:2"),
        (BOTH, ["--global-percent", "0.1,0.2", "--shortcuts", "1,2"], "one of them may"),
        (SLIM, ["--global-percent", "0.1,0.2", "--report", "r"], "nothing is pruned"),
        (SLIM, ["--output", "x"], "one value only"),
        (SLIM, ["--global-percent", "0.1,0.2", "--target-params", "0.5"], "takes the place"),
        (BOTH, ["--shortcuts", "1,2", "--target-params", "0.5"], "finds one ratio"),
        (SLIM, ["--global-percent", "0.1,0.2", "--output", "set"], "holds other files"),
        (SLIM, ["--report", "set"], "--report set: holds other files"),
        (LAYER, ["--shortcuts", "2,4"], "4 shortcuts cannot go"),
    ],
)
def test_refuses(folder: Path, strategy: Strategy, flags: list[str], part: str) -> None:
    with pytest.raises(UserError, match=part):
        script(strategy, *flags)
    assert files(folder) == set()


@pytest.mark.parametrize("text", ["0.3:0.9", "0.5,1.5", "0.9:0.1:0.1"])
def test_a_bad_range_is_one_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        prune_flags(SLIM, None, ["--global-percent", text])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_flags_left_out() -> None:
    def numbers(strategy: Strategy, *flags: str) -> Any:
        found = prune_flags(strategy, None, ["--weights", "my.pt", *flags])
        return found.chosen_ratio, found.chosen_shortcuts, found.floor, found.sweep

    assert numbers(SLIM) == (0.8, 0, 0.01, None)
    assert numbers(prune.STRATEGY) == (0.8, 0, 0.0, None)
    assert numbers(LAYER) == (0.0, 8, 0.0, None)
    assert numbers(BOTH) == (0.6, 8, 0.01, None)
    assert numbers(BOTH, "--shortcuts", "3", "--global-percent", "0.25")[:2] == (0.25, 3)
