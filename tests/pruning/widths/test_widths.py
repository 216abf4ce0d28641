"""`--widths`: the file, the plan that obeys it, and what is refused in one line."""

from __future__ import annotations

import dataclasses
import json
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
from utils.cfg import format_cfg, load_cfg
from utils.command.errors import UserError
from utils.network.graph import channel_graph
from utils.pruning.command.flags import read_flags
from utils.pruning.importance.batch_norm import batch_norm_scale
from utils.pruning.plan import Limits
from utils.pruning.report.result import Pruned
from utils.pruning.sensitivity.caps import cfg_hash
from utils.pruning.sensitivity.groups import make_cutter
from utils.pruning.sensitivity.record import Ranked
from utils.pruning.strategy import Strategy
from utils.pruning.widths.allot import Allotter
from utils.pruning.widths.file import Width, Widths, read_widths, write_widths

NET = net(
    conv(16, stride=2), conv(8, 1), conv(16), section("shortcut", frm=-3),
    conv(8, 1), conv(16), section("shortcut", frm=-3), conv(20, stride=2), head(),
)  # fmt: skip
KEEP = {(0, 2, 5): 11, (1,): 3, (4,): 8, (7,): 1}
SIZES = {(0, 2, 5): 16, (1,): 8, (4,): 8, (7,): 20}
SCRIPTS: dict[str, tuple[Strategy, list[str], dict[tuple[int, ...], int]]] = {
    "slim_prune": (slim_prune.STRATEGY, [], KEEP),
    "shortcut_prune": (shortcut_prune.STRATEGY, [], KEEP),
    "prune": (prune.STRATEGY, [], {**KEEP, (0, 2, 5): 16}),  # sums stay with this one
    "layer_channel_prune": (layer_channel_prune.STRATEGY, ["--shortcuts", "1"], KEEP),
}


def widths_of(keep: dict[tuple[int, ...], int]) -> Widths:
    groups = tuple(Width(layers, SIZES[layers], count) for layers, count in keep.items())
    return Widths(cfg_hash(load_cfg("my.cfg")), Ranked("slim_prune", "bn", "none"), groups)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Darknet:
    """my.cfg, my.weights and widths.json in the working directory; the network."""
    monkeypatch.chdir(tmp_path)
    Path("my.cfg").write_text(format_cfg(NET))
    model = Darknet("my.cfg")
    model.load_state(healthy_state(model))
    model.save_weights("my.weights")
    write_widths(widths_of(KEEP), Path("widths.json"))
    return model


def pruned(strategy: Strategy, *flags: str) -> Pruned:
    argv = ["--cfg", "my.cfg", "--weights", "my.weights", "--widths", "widths.json", *flags]
    done = prune_by_flags(strategy, argv)
    assert isinstance(done, Pruned)  # the gate was passed
    return done


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_group_keeps_as_many_as_the_file_says(here: Darknet, script: str) -> None:
    strategy, flags, keep = SCRIPTS[script]
    write_widths(widths_of(keep), Path("widths.json"))
    plan = pruned(strategy, *flags, "--dry-run").plan
    for layers, count in keep.items():
        classes = np.unique(np.concatenate([plan.graph.issued[i] for i in layers]))
        assert plan.keep[classes].sum() == count, layers
    gammas = here.state_dict()["layers.7.bn.weight"].abs().numpy()
    assert plan.kept(7).numpy().nonzero()[0].tolist() == [int(gammas.argmax())]


@pytest.mark.usefixtures("here")
def test_what_is_written_has_these_widths() -> None:
    done = pruned(slim_prune.STRATEGY)
    assert done.weights_path.name == "prune_widths_keep_0.01_my.weights"
    small = Darknet(str(done.cfg_path), weights=str(done.weights_path))
    assert [small.rules[i].shape[0] for i in (0, 1, 2, 4, 5, 7)] == [11, 3, 11, 8, 11, 1]


@pytest.mark.usefixtures("here")
def test_groups_that_the_file_leaves_out_stay_whole() -> None:
    write_widths(widths_of({(1,): 3}), Path("widths.json"))
    plan = pruned(slim_prune.STRATEGY, "--dry-run").plan
    assert [plan.kept_count(i) for i in (0, 1, 4, 7)] == [16, 3, 8, 20]


@pytest.mark.usefixtures("here")
def test_what_also_says_how_much_is_refused() -> None:
    for flags, named in (
        (["--global-percent", "0.5"], "--global-percent"),
        (["--global-percent", "0.1:0.5:0.1"], "--global-percent"),
        (["--target-params", "0.5"], "--target-params"),
        (["--target-latency-ms", "3"], "--target-latency-ms"),
        (["--importance", "l1:macs"], "--importance l1:macs"),
        (["--max-map-drop", "0.1", "--data", "my.data"], "--global-percent"),
        (["--sensitivity", "a.json", "--max-layer-drop", "0.1"], "--sensitivity"),
    ):
        with pytest.raises(UserError, match=f"^--widths: [^\n]*{named} has nothing left to say$"):
            pruned(slim_prune.STRATEGY, *flags)
    assert not list(Path().glob("prune_*"))


def test_a_script_of_blocks_has_no_such_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        prune_by_flags(layer_prune.STRATEGY, ["--widths", "widths.json"])
    assert "--widths" in capsys.readouterr().err


def test_widths_of_another_network_are_refused(here: Darknet) -> None:
    write_widths(dataclasses.replace(widths_of(KEEP), cfg_sha256="0" * 64), Path("widths.json"))
    with pytest.raises(UserError, match="is of another network"):
        pruned(slim_prune.STRATEGY)
    for groups, what in (
        ((Width((0, 1), 24, 3),), "layers 0 1 as a group"),
        ((Width((1,), 9, 3),), "says 9 channels of layers 1, which have 8"),
        ((Width((8,), 14, 3),), "let none of them go"),  # the head's
    ):
        wrong = dataclasses.replace(widths_of(KEEP), groups=groups)
        write_widths(wrong, Path("widths.json"))
        with pytest.raises(UserError, match=what):
            pruned(slim_prune.STRATEGY)
    write_widths(widths_of(KEEP), Path("widths.json"))
    with pytest.raises(UserError, match="let none of them go"):
        pruned(slim_prune.STRATEGY, "--exclude", "1")
    with pytest.raises(UserError, match=r"layers 0 2 5 cannot keep 11 channels: .* 12 is the next"):
        pruned(slim_prune.STRATEGY, "--round-to", "4")


@pytest.mark.usefixtures("here")
def test_another_importance_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    pruned(slim_prune.STRATEGY, "--dry-run")
    assert "other channels" not in caplog.text
    pruned(slim_prune.STRATEGY, "--dry-run", "--importance", "l1")
    assert "other channels go than those that were tried" in caplog.text


GROUPED = net(conv(8, stride=2), section("route", layers=-1, groups=2, group_id=1), conv(8), head())


def test_equal_parts_are_asked_for_so_that_the_count_is_met() -> None:
    """Of two parts with equal counts: 4 of 8 stay, two each, whatever the order of all 8 says."""
    model = Darknet(GROUPED)
    model.load_state(healthy_state(model))
    state = model.state_dict()
    gammas = [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    state["layers.0.bn.weight"].copy_(state["layers.0.bn.weight"].new_tensor(gammas))
    graph = channel_graph(model.rules)
    rule = slim_prune.STRATEGY.channels
    assert rule is not None
    allotter = Allotter(make_cutter(graph, batch_norm_scale(graph, state), rule, {}), Limits())
    first = allotter.groups[0]
    assert first.layers[0] == 0 and len(first.classes) == 8
    # Negative control: the best 4 lie in one part, so that merely asking for 4 keeps all 8.
    assert allotter.kept(allotter.plan([4, *allotter.sizes[1:]]))[0] == 8
    plan = allotter.exactly({first: 4})
    assert plan.kept(0).tolist() == [True, True, False, False, True, True, False, False]
    with pytest.raises(UserError, match=r"cannot keep 5 channels: .*; 6 is the next"):
        allotter.exactly({first: 5})


def test_scaled_shares_fill_what_holds() -> None:
    model = Darknet(NET)
    model.load_state(healthy_state(model))
    graph = channel_graph(model.rules)
    rule = slim_prune.STRATEGY.channels
    assert rule is not None
    scores = batch_norm_scale(graph, model.state_dict())
    allotter = Allotter(make_cutter(graph, scores, rule, {}), Limits())
    assert allotter.sizes == tuple(SIZES[group.layers] for group in allotter.groups)
    found = allotter.scaled([1.0, 0.5, 0.5, 0.1], lambda plan: sum(allotter.kept(plan)) <= 20)
    assert found is not None
    kept = allotter.kept(found)
    assert sum(kept) <= 20 < sum(allotter.kept(allotter.plan([k + 1 for k in kept])))
    assert kept[0] / 16 > kept[1] / 8 == kept[2] / 8 > kept[3] / 20
    assert allotter.scaled([1.0] * 4, lambda plan: False) is None
    everything = allotter.scaled([1.0, 0.5, 0.5, 0.1], lambda plan: True)
    assert everything is not None and everything.keep.all()


def test_what_is_written_comes_back(here: Darknet, tmp_path: Path) -> None:
    widths = widths_of(KEEP)
    for name in ("a.json", "b.json"):
        write_widths(widths, tmp_path / name)
    assert read_widths("a.json") == widths
    assert Path("a.json").read_bytes() == Path("b.json").read_bytes()


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another format": (lambda c: c.update(format="darkslim sensitivity"), "is no file of widths"),
    "a later version": (lambda c: c.update(version=2), "is of version 2"),
    "no hash": (lambda c: c.update(cfg_sha256="x" * 64), "is no sha256"),
    "no groups": (lambda c: c.update(groups=[]), "there are none"),
    "a text of groups": (lambda c: c.update(groups="all"), "must be a list"),
    "a layer twice": (lambda c: c["groups"].append(c["groups"][0]), "name a layer twice"),
    "none kept": (lambda c: c["groups"][0].update(keep=0), "keeps no channel"),
    "more than there are": (lambda c: c["groups"][0].update(keep=17), "from 0 to 16"),
    "half a channel": (lambda c: c["groups"][0].update(keep=2.5), "must be a whole number"),
    "true": (lambda c: c["groups"][0].update(keep=True), "must be a whole number"),
    "a negative layer": (lambda c: c["groups"][0].update(layers=[-1]), "must be a whole number"),
    "no layers": (lambda c: c["groups"][0].update(layers=[]), "has no layers"),
    "a group of text": (lambda c: c.update(groups=["1"]), "is no object"),
    "no ranking": (lambda c: c.pop("ranked"), "ranked: is no object"),
    "a long word": (lambda c: c["ranked"].update(importance="x" * 101), "must be a word"),
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("change", CHANGES)
def test_a_wrong_file_is_told_in_one_line_before_any_work(change: str) -> None:
    edit, said = CHANGES[change]
    content = json.loads(Path("widths.json").read_text())
    edit(content)
    Path("widths.json").write_text(json.dumps(content))
    argv = ["--cfg", "my.cfg", "--weights", "my.weights", "--widths", "widths.json"]
    with pytest.raises(UserError) as found:
        read_flags(slim_prune.STRATEGY, None, argv)
    assert said in str(found.value) and "\n" not in str(found.value)
    assert "search.py writes such files" in str(found.value)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "content", [b"", b"[" * 100_000, b"\xff\xfe", b'{"format": NaN}', b"[1e999999]", b"{}"]
)
def test_what_is_no_such_file_at_all_is_told_in_one_line(content: bytes) -> None:
    Path("widths.json").write_bytes(content)
    with pytest.raises(UserError) as found:
        read_widths("widths.json")
    assert "\n" not in str(found.value)
