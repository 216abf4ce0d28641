"""Every prune script keeps to a file's caps; a file of another network is refused."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest

import iterative_prune
import layer_channel_prune
import layer_prune
import prune
import shortcut_prune
import slim_prune
from models import Darknet
from tests.support.nets import conv, head, healthy_state, net, section
from tests.support.prune_case import prune_by_flags
from utils.cfg import Cfg, format_cfg, load_cfg
from utils.command.errors import UserError
from utils.detection.options import Inputs
from utils.network.graph import channel_graph
from utils.pruning.options import PruneOptions, SensitivityLimit
from utils.pruning.report.result import Pruned
from utils.pruning.sensitivity.caps import caps, cfg_hash, state_hash
from utils.pruning.sensitivity.file import write_sensitivity
from utils.pruning.sensitivity.groups import find_groups
from utils.pruning.sensitivity.record import Curve, Images, Point, Ranked, Scores, Sensitivity
from utils.pruning.strategy import Strategy

NET = net(
    conv(16, stride=2), conv(8, 1), conv(16), section("shortcut", frm=-3),
    conv(8, 1), conv(16), section("shortcut", frm=-3), conv(20, stride=2), head(),
)  # fmt: skip
# Drop at half the channels of each group; nothing else is measured. (0, 2, 5) are summed.
DROPS = {(0, 2, 5): 0.02, (1,): 0.005, (4,): 0.5, (7,): -0.1}
# What a limit of .01 leaves of them: 1/4 of 16 may go, 1/2 of 8, none of layer 4's, 1/2 of 20.
LEAST = {(0, 2, 5): 12, (1,): 4, (4,): 8, (7,): 10}
SCRIPTS: dict[str, tuple[Strategy, list[str]]] = {
    "slim_prune": (slim_prune.STRATEGY, ["--global-percent", "0.95"]),
    "prune": (prune.STRATEGY, ["--percent", "0.95"]),
    "shortcut_prune": (shortcut_prune.STRATEGY, ["--percent", "0.95"]),
    "layer_channel_prune": (
        layer_channel_prune.STRATEGY, ["--shortcuts", "1", "--global-percent", "0.95"],
    ),
}  # fmt: skip


def found_of(cfg: Cfg, model: Darknet) -> Sensitivity:
    sizes = {group.layers: len(group.classes) for group in find_groups(channel_graph(model.rules))}
    curves = tuple(
        Curve(layers, sizes[layers], (Point(0.5, sizes[layers] // 2, drop, Scores()),))
        for layers, drop in DROPS.items()
    )
    return Sensitivity(
        cfg_hash(cfg), state_hash(model.state_dict()), "map", Scores(map50=0.8),
        Ranked("slim_prune", "bn", "none"), Images(8, 0.1, 0), (32, 32), 0, curves,
    )  # fmt: skip


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sensitivity:
    """my.cfg, my.weights and found.json in the working directory; what the file says."""
    monkeypatch.chdir(tmp_path)
    Path("my.cfg").write_text(format_cfg(NET))
    model = Darknet("my.cfg")
    model.load_state(healthy_state(model))
    model.save_weights("my.weights")
    found = found_of(load_cfg("my.cfg"), model)
    write_sensitivity(found, Path("found.json"))
    return found


def pruned(strategy: Strategy, *flags: str) -> Pruned:
    argv = ["--cfg", "my.cfg", "--weights", "my.weights", "--img-size", "32", "--dry-run", *flags]
    done = prune_by_flags(strategy, argv)
    assert isinstance(done, Pruned)
    return done


def left(done: Pruned) -> dict[tuple[int, ...], int]:
    """How many channels of each group stay, the blocks that go as a whole left aside."""
    graph = done.plan.graph
    return {
        group.layers: int(done.plan.keep[group.classes].sum())
        for group in find_groups(graph)
        if group.layers in DROPS
    }


CAPPED = ("--sensitivity", "found.json", "--max-layer-drop", "0.01")


@pytest.mark.usefixtures("found")
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_keeps_to_the_caps(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    strategy, flags = SCRIPTS[script]
    done = pruned(strategy, *flags, *CAPPED)  # the gate proves it, or it raises
    assert all(count >= LEAST[layers] for layers, count in left(done).items())
    said = capsys.readouterr().out
    assert "3 of 4 groups may lose channels for a drop of at most 0.01" in said
    assert "Gate passed" in said
    free = left(pruned(strategy, *flags))
    assert any(count < LEAST[layers] for layers, count in free.items())  # negative control


@pytest.mark.usefixtures("found")
def test_caps_are_reached_and_not_more_than_kept() -> None:
    """Where so much is asked for, slim_prune.py stops at each cap exactly."""
    assert left(pruned(slim_prune.STRATEGY, "--global-percent", "0.95", *CAPPED)) == LEAST
    tight = ("--sensitivity", "found.json", "--max-layer-drop", "0.0025")
    counts = left(pruned(slim_prune.STRATEGY, "--global-percent", "0.95", *tight))
    assert counts == {(0, 2, 5): 15, (1,): 6, (4,): 8, (7,): 10}


@pytest.mark.usefixtures("found")
def test_rounded_counts_keep_to_the_caps_too() -> None:
    flags = ("--global-percent", "0.95", "--round-to", "8")
    counts = left(pruned(slim_prune.STRATEGY, *flags, *CAPPED))
    assert counts == {(0, 2, 5): 16, (1,): 8, (4,): 8, (7,): 16}


@pytest.mark.usefixtures("found")
def test_a_budget_is_met_within_the_caps_or_told_to_be_out_of_reach() -> None:
    done = pruned(slim_prune.STRATEGY, "--target-channels", "0.85", *CAPPED)
    assert all(count >= LEAST[layers] for layers, count in left(done).items())
    with pytest.raises(UserError, match=r"--target-channels 0\.1: cannot be reached"):
        pruned(slim_prune.STRATEGY, "--target-channels", "0.1", *CAPPED)


def test_groups_that_the_file_does_not_name_stay(found: Sensitivity) -> None:
    write_sensitivity(dataclasses.replace(found, curves=found.curves[:1]), Path("found.json"))
    done = pruned(slim_prune.STRATEGY, "--global-percent", "0.95", *CAPPED)
    assert left(done) == {(0, 2, 5): 12, (1,): 8, (4,): 8, (7,): 20}
    assert done.plan.candidates.reasons[1] == "not in the file of --sensitivity"


@pytest.mark.usefixtures("found")
def test_where_nothing_may_go_that_is_said() -> None:
    write_sensitivity(
        dataclasses.replace(
            found_of(load_cfg("my.cfg"), Darknet("my.cfg", weights="my.weights")),
            curves=(Curve((4,), 8, (Point(0.5, 4, 0.5, Scores()),)),),
        ),
        Path("found.json"),
    )
    with pytest.raises(UserError, match=r"--max-layer-drop 0.01: no group may lose a channel"):
        pruned(slim_prune.STRATEGY, "--global-percent", "0.5", *CAPPED)


@pytest.mark.parametrize("what", ["cfg", "weights"])
def test_a_file_of_another_network_is_refused(found: Sensitivity, what: str) -> None:
    changed = {f"{what}_sha256": "a" * 64}
    write_sensitivity(dataclasses.replace(found, **changed), Path("found.json"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=f"another network \\(its {what} differ by sha256"):
        pruned(slim_prune.STRATEGY, "--global-percent", "0.5", *CAPPED)


def test_the_hashes_are_of_what_counts(found: Sensitivity) -> None:
    """A .pt has the hash of its .weights, and line ends say nothing; a number or a key does."""
    model = Darknet("my.cfg", weights="my.weights")
    text = Path("my.cfg").read_text()
    Path("crlf.cfg").write_bytes(text.replace("\n", "\r\n").encode())
    assert cfg_hash(load_cfg("crlf.cfg")) == found.cfg_sha256
    Path("other.cfg").write_text(text.replace("filters=20", "filters=21"))
    assert cfg_hash(load_cfg("other.cfg")) != found.cfg_sha256
    state = model.state_dict()
    assert state_hash(dict(reversed(state.items()))) == found.weights_sha256
    state["layers.0.bn.bias"][3] += 1e-6
    assert state_hash(state) != found.weights_sha256


def test_curves_that_fit_no_group_are_refused(found: Sensitivity) -> None:
    """The hashes can be right and the rest wrong: anyone may have written the file."""
    graph = channel_graph(Darknet("my.cfg").rules)
    point = Point(0.5, 4, 0.0, Scores())
    for curve, said in (
        (Curve((0, 2), 16, (point,)), "names layers 0 2 as a group"),
        (Curve((99,), 8, (point,)), "names layers 99 as a group"),
        (Curve((1,), 9, (point,)), "says 9 channels of layers 1, which have 8"),
    ):
        with pytest.raises(UserError, match=said):
            caps(dataclasses.replace(found, curves=(curve,)), graph, 0.01)
    floors, excluded = caps(found, graph, 0.01)  # negative control
    assert [(len(classes), least) for classes, least in floors] == [(16, 12), (8, 4), (20, 10)]
    assert set(excluded) == {4, 8}


@pytest.mark.usefixtures("found")
@pytest.mark.parametrize(("importance", "warned"), [("l1", True), ("bn", False)])
def test_another_importance_is_warned_about(
    importance: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        flags = ("--global-percent", "0.5", "--importance", importance, *CAPPED)
        pruned(slim_prune.STRATEGY, *flags)
    assert ("other channels may go than those it measured" in caplog.text) == warned


@pytest.mark.usefixtures("found")
def test_scripts_that_it_is_not_about_refuse_it() -> None:
    with pytest.raises(SystemExit):  # has no such flags
        pruned(layer_prune.STRATEGY, "--shortcuts", "1", *CAPPED)
    with pytest.raises(UserError, match="removes blocks alone"):
        PruneOptions(
            layer_prune.STRATEGY,
            Inputs("my.cfg", "my.weights"),
            shortcuts=1,
            sensitivity=SensitivityLimit("found.json", 0.01),
        )
    words = ["--cfg", "my.cfg", "--weights", "my.weights", "--data", "my.data"]
    with pytest.raises(UserError, match="each step prunes another"):
        iterative_prune.main([*words, f"--prune-flags={' '.join(CAPPED)}"])
