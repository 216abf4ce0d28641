"""Checkpoints of older suites: read under our names, or refused by a line that says why."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models import Darknet
from tests.support.nets import State, conv, head, healthy_state, net
from utils.command.errors import UserError
from utils.network.weights import checkpoint_content, load_checkpoint

CFG = net(conv(4), conv(6), head())
Rename = Callable[[str, str, str], str]


def tanlurens(layer: str, kind: str, what: str) -> str:
    return f"module_list.{layer}.{ {'conv': 'Conv2d', 'bn': 'BatchNorm2d'}[kind] }.{what}"


def lam1360s(layer: str, kind: str, what: str) -> str:
    return f"module_list.{layer}.{ {'conv': 'conv', 'bn': 'batch_norm'}[kind] }_{layer}.{what}"


def parallel(layer: str, kind: str, what: str) -> str:
    return "module." + tanlurens(layer, kind, what)


def renamed(state: Mapping[str, Tensor], rename: Rename) -> State:
    return {rename(*key.split(".")[1:]): tensor for key, tensor in state.items()}


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("rename", [tanlurens, lam1360s, parallel])
@pytest.mark.parametrize("bare", [False, True])
def test_older_names_are_read(
    tmp_path: Path, rename: Rename, bare: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    state = healthy_state(Darknet(CFG))
    named = renamed(state, rename)
    named["module_list.3.anchors"] = torch.ones(2, 2)
    named["module_list.0.BatchNorm2d.num_batches_tracked"] = torch.tensor(7)
    content = named if bare else {"epoch": 9, "best_fitness": 0.5, "model": named}
    model = Darknet(CFG).load_weights(saved(tmp_path / "older.pt", content))
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    assert "older suite" in caplog.text


def test_what_is_not_known_is_told(tmp_path: Path) -> None:
    named = renamed(Darknet(CFG).state_dict(), tanlurens)
    named["module_list.1.Swish.beta"] = torch.ones(1)
    with pytest.raises(UserError, match="1 left over"):
        Darknet(CFG).load_weights(saved(tmp_path / "older.pt", {"model": named}))


def test_names_of_nobody_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a checkpoint of this program"):
        load_checkpoint(saved(tmp_path / "other.pt", {"backbone.0.weight": torch.ones(2)}))


def test_channels_last_kernels_are_saved_and_read_in_one_piece(tmp_path: Path) -> None:
    """`.view` on what training had laid channels-last ended in a traceback."""
    model = Darknet(CFG).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = model.state_dict()
    assert not all(tensor.is_contiguous() for tensor in state.values())
    ours = checkpoint_content("", state, seen=0)
    assert all(tensor.is_contiguous() for tensor in ours["model"].values())
    older = saved(tmp_path / "older.pt", {**ours, "model": dict(state)})
    read = load_checkpoint(older)["model"]
    assert all(tensor.is_contiguous() for tensor in read.values())
    assert all(torch.equal(read[key], tensor) for key, tensor in state.items())
