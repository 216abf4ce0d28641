"""A prune called as a function: options made by hand, and refused where the flags would refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import layer_prune
import slim_prune
from models import Darknet
from slim_prune import STRATEGY
from tests.support.nets import conv, head, healthy, net, section
from tests.support.tiny_data import make_set
from utils.cfg import plain_text
from utils.command.errors import UserError
from utils.detection.options import Inputs, Scoring
from utils.pruning.command.flags import prune_flags
from utils.pruning.command.run import prune_network, sweep_network
from utils.pruning.importance.options import Ranking
from utils.pruning.options import (
    Budget,
    LatencyBudget,
    LayerRules,
    Outputs,
    PruneOptions,
    SweepWish,
)
from utils.pruning.strategy import Strategy

TINY = net(
    conv(8, stride=2), conv(4, 1), conv(8), section("shortcut", frm=-3), conv(8, stride=2), head(),
)  # fmt: skip
MY = Inputs("my.cfg", "my.weights")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: my.cfg, my.weights, and a data set of six images."""
    (tmp_path / "my.cfg").write_text(plain_text(TINY))
    healthy(TINY).save_weights(tmp_path / "my.weights")
    make_set(tmp_path / "set")
    (tmp_path / "my.names").write_text("disc\nstar\n")
    lists = "valid=set/list.txt\ntrain=set/list.txt\nnames=my.names\n"
    (tmp_path / "my.data").write_text(f"classes=2\n{lists}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def new_files(folder: Path) -> set[str]:
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(("set", "my"))}


# -- it does what the command does -----------------------------------------------------------


def test_five_lines_prune_as_the_command_does(folder: Path) -> None:
    pruned = prune_network(PruneOptions(STRATEGY, MY, ratio=0.5), Darknet)
    assert str(pruned.cfg_path) == "prune_0.5_keep_0.01_my.cfg"
    written = {path: path.read_bytes() for path in (pruned.cfg_path, pruned.weights_path)}
    assert pruned.after.parameters < pruned.before.parameters
    flags = ["--cfg", "my.cfg", "--weights", "my.weights", "--global-percent", "0.5", "--force"]
    slim_prune.main(flags)
    assert {path: path.read_bytes() for path in written} == written


def test_what_the_flags_make_is_what_a_caller_makes() -> None:
    """But for what was typed, which reports show."""
    files = ["--cfg", "my.cfg", "--weights", "my.weights"]
    words = [*files, "--global-percent", "0.5", "--round-to", "4", "--importance", "l1"]
    made = PruneOptions(
        STRATEGY, MY, ratio=0.5, rules=LayerRules(round_to=4), ranking=Ranking("l1")
    )
    found = prune_flags(STRATEGY, None, words)
    assert replace(found, typed=made.typed) == made
    found = prune_flags(layer_prune.STRATEGY, None, files)
    made = PruneOptions(layer_prune.STRATEGY, MY, layer_keep=found.layer_keep)
    assert replace(found, typed=made.typed) == made


def test_a_dry_run_returns_the_result_and_writes_nothing(folder: Path) -> None:
    dry = PruneOptions(STRATEGY, MY, ratio=0.5, outputs=Outputs(dry_run=True))
    found = prune_network(dry, Darknet)
    assert new_files(folder) == set()
    assert Darknet(found.cfg, weights=found.state).rules[0].shape[0] < 8


def test_a_sweep_is_a_function_too(folder: Path) -> None:
    scored = Scoring("my.data", workers=0, device="cpu")
    options = PruneOptions(STRATEGY, MY, scored, sweep=SweepWish("ratio", (0.3, 0.6)))
    sweep = sweep_network(options, Darknet)
    assert [point.value for point in sweep.points] == [0, 0.3, 0.6]
    assert new_files(folder) == {"runs/sweep/my/sweep.csv", "runs/sweep/my/sweep.png"}
    with pytest.raises(UserError, match="name its max_map_drop"):
        prune_network(options, Darknet)
    with pytest.raises(UserError, match="needs several values"):
        sweep_network(PruneOptions(STRATEGY, MY), Darknet)


def test_a_search_without_a_drop_to_spare_is_refused(folder: Path) -> None:
    """Random weights find next to nothing, so that half a mAP may always go."""
    scored = Scoring("my.data", workers=0, device="cpu")
    wish = SweepWish("ratio", (0.3, 0.6), 0.5)
    with pytest.raises(UserError, match="any ratio would do"):
        prune_network(PruneOptions(STRATEGY, MY, scored, sweep=wish), Darknet)
    assert new_files(folder) == set()


def test_a_report_tells_the_options_where_nothing_was_typed(folder: Path) -> None:
    outputs = Outputs(report="out")
    prune_network(PruneOptions(STRATEGY, MY, ratio=0.5, outputs=outputs), Darknet)
    record = json.loads((folder / "out" / "report.json").read_text("utf-8"))
    assert record["options"]["ratio"] == 0.5
    assert record["options"]["inputs"]["cfg"] == "my.cfg"
    assert record["options"]["rules"]["exclude"] == []
    assert (record["command"], record["seed"]) == ("", 0)


# -- it refuses what the flags refuse --------------------------------------------------------

LAYERS = layer_prune.STRATEGY
DATA = Scoring("my.data")
# How a caller makes it, the words that a user types for it, and what both are told.
BAD: list[tuple[Callable[[], Any], Strategy, list[str], str]] = [
    (lambda: asked(ratio=1.5), STRATEGY, ["--global-percent", "1.5"],
     "--global-percent: must lie between 0 and 1, got 1.5"),
    (lambda: asked(ratio=float("nan")), STRATEGY, ["--global-percent", "nan"],
     "--global-percent: must lie between 0 and 1, got nan"),
    (lambda: asked(layer_keep=-0.5), STRATEGY, ["--layer-keep=-0.5"],
     "--layer-keep: must lie between 0 and 1, got -0.5"),
    (lambda: asked(LAYERS, shortcuts=0), LAYERS, ["--shortcuts", "0"],
     "--shortcuts: must be at least 1, got 0"),
    (lambda: LayerRules(round_to=0), STRATEGY, ["--round-to", "0"],
     "--round-to: must be at least 1, got 0"),
    (lambda: LayerRules(max_ratio=2), STRATEGY, ["--max-ratio", "2"],
     "--max-ratio: must lie between 0 and 1, got 2"),
    (lambda: Budget("params", 7), STRATEGY, ["--target-params", "7"],
     "--target-params: must lie between 0 and 1, got 7"),
    (lambda: LatencyBudget(0), STRATEGY, ["--target-latency-ms", "0"],
     "--target-latency-ms: must be a positive number of milliseconds, got 0"),
    (lambda: SweepWish("ratio", (0.1, 0.2), 3), STRATEGY, ["--max-map-drop", "3"],
     "--max-map-drop: must lie between 0 and 1, got 3"),
    (lambda: Ranking(taylor_batches=0), STRATEGY, ["--taylor-batches", "0"],
     "--taylor-batches: must be at least 1, got 0"),
    (lambda: Ranking("l3"), STRATEGY, ["--importance", "l3"],  # type: ignore[arg-type]
     "--importance: invalid choice: 'l3'"),
    (lambda: asked(scoring=Scoring(seed=-1)), STRATEGY, ["--seed=-1"],
     "--seed: must not be negative, got -1"),
    (lambda: asked(scoring=Scoring(batch_size=0)), STRATEGY, ["--batch-size", "0"],
     "--batch-size: must be at least 1, got 0"),
    (lambda: asked(scoring=DATA, recalibrate=1), STRATEGY, ["--recalibrate", "1"],
     "--recalibrate: must be at least 2, got 1"),
    (lambda: asked(recalibrate=8), STRATEGY, ["--recalibrate", "8"],
     "--recalibrate: needs --data, since it is measured on training images"),
    (lambda: asked(ranking=Ranking("taylor")), STRATEGY, ["--importance", "taylor"],
     "--importance taylor: needs --data, since it is measured on training images"),
    (lambda: asked(runtime="tpu"), STRATEGY, ["--runtime", "tpu"],
     "--runtime: invalid choice: 'tpu'"),
    (lambda: asked(bn_epsilon="none"), STRATEGY, ["--bn-epsilon", "none"],
     "--bn-epsilon: invalid choice: 'none'"),
    (lambda: asked(ratio=0.5, budgets=(Budget("macs", 0.5),)), STRATEGY,
     ["--global-percent", "0.5", "--target-macs", "0.5"],
     "--target-macs: takes the place of --global-percent; give one"),
    (lambda: asked(ratio=0.5, scoring=DATA, sweep=SweepWish("ratio", max_map_drop=0.1)), STRATEGY,
     ["--global-percent", "0.5", "--max-map-drop", "0.1", "--data", "my.data"],
     "--global-percent 0.5: --max-map-drop searches the value itself; give a range"),
    (lambda: asked(sweep=SweepWish("ratio", max_map_drop=0.1)), STRATEGY, ["--max-map-drop", "0.1"],
     "--max-map-drop: needs --data to score by"),
    (lambda: asked(sweep=SweepWish("ratio", (0.1, 0.2)), outputs=Outputs(report="out")), STRATEGY,
     ["--global-percent", "0.1,0.2", "--report", "out"],
     "--report: reports a prune, but --global-percent holds several values"),
    (lambda: asked(outputs=Outputs(sweep="out")), STRATEGY, ["--output", "out"],
     "--output: is the folder of a sweep"),
]  # fmt: skip


def asked(strategy: Strategy = STRATEGY, **parts: Any) -> PruneOptions:
    return PruneOptions(strategy, MY, **parts)


@pytest.mark.parametrize(("make", "strategy", "words", "said"), BAD, ids=[case[3] for case in BAD])
def test_options_refuse_what_the_flags_refuse(
    make: Callable[[], Any], strategy: Strategy, words: list[str], said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with pytest.raises(UserError) as refused:
        make()
    assert str(refused.value).startswith(said)
    with pytest.raises((UserError, SystemExit)) as typed:
        prune_flags(strategy, None, ["--cfg", "my.cfg", "--weights", "my.weights", *words])
    told = str(typed.value) if isinstance(typed.value, UserError) else capsys.readouterr().err
    assert said in told


def test_options_refuse_what_no_flag_can_say() -> None:
    """A script has no flag for what its strategy does not do."""
    with pytest.raises(UserError, match="takes no ratio and no budget"):
        asked(LAYERS, ratio=0.5)
    with pytest.raises(UserError, match="takes no ratio and no budget"):
        asked(LAYERS, sweep=SweepWish("ratio", (0.1, 0.2)))
    with pytest.raises(UserError, match="removes no residual blocks"):
        asked(shortcuts=3)
    with pytest.raises(UserError, match="values to try"):
        SweepWish("ratio")
    with pytest.raises(UserError, match="--global-percent: must lie between"):
        asked(sweep=SweepWish("ratio", (0.1, 2.0)))
    with pytest.raises(UserError, match="--shortcuts: must be at least 1"):
        asked(LAYERS, sweep=SweepWish("shortcuts", (0, 2)))
    assert asked(ratio=0.0).chosen_ratio == 0.0
    assert asked().chosen_ratio == STRATEGY.ratio
    assert asked(LAYERS).chosen_shortcuts == 8


def test_a_target_rounds() -> None:
    """--for takes the target's multiple, together with a typed one; darknet writes strict cfgs."""

    def typed(*words: str) -> PruneOptions:
        return prune_flags(STRATEGY, None, ["--cfg", "a", "--weights", "b", *words])

    assert typed("--for", "onnx").rules.round_to == 8
    assert typed("--for", "onnx", "--round-to", "12").rules.round_to == 24
    assert typed("--for", "mnn", "--round-to", "12").rules.round_to == 12
    assert typed().rules.round_to == 1
    assert typed("--for", "darknet").strict_darknet
    assert not typed("--for", "onnx").strict_darknet
