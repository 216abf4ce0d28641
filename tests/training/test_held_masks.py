"""train.py --masks: masked weights stay 0 through training, averaging and resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import mask_prune
import train
from models import Darknet
from tests.support.training_project import assert_same, content, run
from utils.command.errors import UserError
from utils.training import checkpoint as checkpoints
from utils.training import loop


@pytest.fixture
def masked(project: Path) -> Path:
    """A checkpoint with masks of the project's network, random weights."""
    torch.manual_seed(0)
    Darknet("my.cfg").save_weights("start.weights")
    flags = ["--cfg", "my.cfg", "--weights", "start.weights", "--amount", "0.7", "--device", "cpu"]
    return mask_prune.main(flags).checkpoint


def held(path: Path, masks: dict[str, torch.Tensor], state: str = "model") -> bool:
    """Whether all masked weights of a checkpoint are 0, and not nearly all of the others."""
    weights = content(path)[state]
    assert all(bool((weights[key][mask] != 0).float().mean() > 0.9) for key, mask in masks.items())
    return all(not weights[key][~mask].any() for key, mask in masks.items())


@pytest.mark.parametrize(
    "flags", [(), ("--optimizer", "sgd", "--accumulate", "2", "-sr", "--amp", "bf16")]
)
def test_masked_weights_stay_0_and_the_others_learn(masked: Path, flags: tuple[str, ...]) -> None:
    given = ("--epochs", "2", "--weights", str(masked), *flags)
    folder = run(*given, "--masks", str(masked))
    masks = content(masked)["masks"]
    for name, state in (("last.pt", "raw"), ("last.pt", "model"), ("best.pt", "model")):
        assert held(folder / name, masks, state)
        assert content(folder / name)["masks"].keys() == masks.keys()
    assert not torch.equal(
        content(folder / "last.pt")["raw"]["layers.0.conv.weight"],
        content(masked)["model"]["layers.0.conv.weight"],
    )
    if not flags:  # negative control: without --masks they grow
        assert not held(run(*given) / "last.pt", masks)


def test_the_optimizer_knows_nothing_of_masked_weights(masked: Path) -> None:
    """Their gradients are cleared before a step: no moment of theirs ever leaves 0.

    Setting the weights back to 0 after each step is not enough: their gradients would count in the
    length that --clip-norm bounds, and their moments would stay behind.
    """
    given = ("--epochs", "1", "--optimizer", "adamw", "--weights", str(masked))
    masks = content(masked)["masks"]

    def moments(*flags: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Adam's squared gradients of each masked weight, with its mask; no two shapes agree."""
        states = content(run(*given, *flags) / "last.pt")["optimizer"]["state"].values()
        by_shape = {state["exp_avg_sq"].shape: state["exp_avg_sq"] for state in states}
        return [(by_shape[mask.shape], mask) for mask in masks.values()]

    assert len({mask.shape for mask in masks.values()}) == len(masks) == 3
    for squares, mask in moments("--masks", str(masked)):
        assert not squares[~mask].any()
        assert squares[mask].any()
    assert any(squares[~mask].any() for squares, mask in moments())  # negative control


def test_a_resumed_run_holds_them_too_without_the_file(
    masked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--epochs", "2", "--weights", str(masked), "--masks", str(masked))
    whole = run(*flags, "--name", "whole")
    saves = 0

    def killed_after_an_epoch(path: Path, what: Any) -> None:
        nonlocal saves
        checkpoints.save(path, what)
        saves += path.name == "last.pt"
        if saves == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save", killed_after_an_epoch)
        with pytest.raises(KeyboardInterrupt):
            run(*flags, "--name", "cut")
    masks = content(masked)["masks"]
    masked.unlink()
    folder = train.main(["--resume", "--name", "cut"])
    assert held(folder / "last.pt", masks)
    ours, theirs = content(folder / "last.pt"), content(whole / "last.pt")
    for part in ("model", "raw", "masks", "optimizer"):
        assert_same(ours[part], theirs[part], part)


def test_masks_of_another_network_are_refused(masked: Path) -> None:
    other = content(masked)
    other["masks"]["layers.9.conv.weight"] = torch.ones(2, dtype=torch.bool)
    torch.save(other, "other.pt")
    with pytest.raises(UserError, match=r"other\.pt: does not fit the cfg"):
        run("--epochs", "1", "--masks", "other.pt")
    other["masks"] = {"layers.0.conv.weight": torch.ones(2)}
    torch.save(other, "other.pt")
    with pytest.raises(UserError, match="tensors of bool"):
        run("--epochs", "1", "--masks", "other.pt")
    with pytest.raises(UserError, match="holds no masks"):
        run("--epochs", "1", "--masks", "start.weights")
