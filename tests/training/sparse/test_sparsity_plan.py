"""train.py -sr --sparsity-plan: the pull takes what a prune removed before, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import slim_prune
from models import Darknet
from tests.support.prune_case import prune_by_flags
from tests.support.training_project import content, run
from utils.command.errors import UserError
from utils.pruning.report.result import Pruned
from utils.pruning.targets import planned_targets

AMOUNT = ("--cfg", "my.cfg", "--img-size", "32", "--global-percent", "0.5", "--layer-keep", "0.1")


def cut(weights: Path | str, *flags: str) -> Pruned:
    argv = [*AMOUNT, "--weights", str(weights), *flags]
    pruned = prune_by_flags(slim_prune.STRATEGY, argv)
    assert isinstance(pruned, Pruned)
    return pruned


def gone(pruned: Pruned) -> dict[int, list[int]]:
    """The channels that a prune removed from the two layers with gammas."""
    return {k: (~pruned.plan.kept(k)).nonzero().flatten().tolist() for k in (0, 1)}


@pytest.fixture
def tried(project: Path) -> Pruned:
    """A random choice of half of the channels."""
    torch.manual_seed(0)
    Darknet("my.cfg").save_weights("start.weights")
    return cut("start.weights", "--importance", "random")


def plan_of(pruned: Pruned) -> Path:
    return pruned.cfg_path.with_name(f"{pruned.cfg_path.stem}.plan.json")


def test_the_targets_are_what_the_prune_removed(tried: Pruned) -> None:
    model = Darknet("my.cfg")
    targets = planned_targets(model, plan_of(tried))
    assert [gamma for gamma, _ in targets] == [model.layers[k].bn.weight for k in (0, 1)]
    found = {k: mask.nonzero().flatten().tolist() for k, (_, mask) in enumerate(targets)}
    assert found == gone(tried)
    assert all(found.values())


def test_a_pull_by_the_plan_makes_the_same_cut_free(tried: Pruned) -> None:
    pull = ("-sr", "--s", "auto", "--sparsity-update", "prox", "--no-ema")
    flags = ("--epochs", "4", "--weights", "start.weights", *pull)
    sparse = run(*flags, "--sparsity-plan", str(plan_of(tried))) / "last.pt"
    state = content(sparse)["model"]
    zeros = {k: (state[f"layers.{k}.bn.weight"] == 0).nonzero().flatten().tolist() for k in (0, 1)}
    assert zeros == gone(tried)
    assert gone(cut(sparse, "--force")) == gone(tried)
    # Negative control: the pull on all that slim_prune may remove chooses others.
    assert gone(cut(run(*flags) / "last.pt", "--force")) != gone(tried)


def test_a_removed_layer_is_pulled_as_a_whole(tried: Pruned) -> None:
    path = plan_of(tried)
    plan = json.loads(path.read_text())
    plan["layers"] = [row for row in plan["layers"] if row["of"] != 1]
    path.write_text(json.dumps(plan))
    assert planned_targets(Darknet("my.cfg"), path)[1][1].all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"of": 99}, "another network than --cfg"),
        ({"of": 1, "channels": [0, 8]}, "another network than --cfg"),
        ({"of": "one"}, "prune again"),
    ],
)
def test_plans_of_other_networks_are_refused(
    tried: Pruned, change: dict[str, Any], message: str
) -> None:
    path = plan_of(tried)
    plan = json.loads(path.read_text())
    plan["layers"][1] |= change
    path.write_text(json.dumps(plan))
    with pytest.raises(UserError, match=message):
        run("--epochs", "1", "-sr", "--sparsity-plan", str(path))
    assert not Path("runs/train").exists()


def test_a_plan_that_removed_nothing_is_refused(tried: Pruned) -> None:
    path = plan_of(tried)
    rows = [{"layer": k, "of": k, "channels": list(range(8))} for k in (0, 1)]
    path.write_text(json.dumps({"format": 1, "layers": rows}))
    with pytest.raises(UserError, match="removes no channel"):
        planned_targets(Darknet("my.cfg"), path)
