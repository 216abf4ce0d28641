"""Pruning every cfg of the zoo: pruned equals masked, what is written comes back, faults show."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.prune_case import RULES, Case, compared
from tests.support.zoo_cfgs import ZOO_CFGS, small, zoo
from utils.network.graph import channel_graph
from utils.network.layers import build_layers
from utils.network.layers.convolutional import Convolutional
from utils.network.weights import load_darknet_weights, save_darknet_weights
from utils.pruning.proof.gate import GateError

TOLERANCE = 1e-9


def require_written_whole(case: Case, folder: Path) -> None:
    """The cfg as text parses and means the pruned network; its weights come back bit for bit."""
    cfg, state = case.pruned()
    layers = build_layers(cfg)
    path = folder / "pruned.weights"
    save_darknet_weights(path, layers, state)
    back, _ = load_darknet_weights(path, layers)
    path.unlink()
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)


def require_faults_seen(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice that takes the right number of wrong columns is refused."""
    sliced = [
        layer.index
        for layer in case.graph.layers
        if isinstance(layer, Convolutional)
        and layer.groups == 1
        and not case.plan.kept_inputs(layer.index)[0].all()
    ]
    chosen = sliced[len(sliced) // 2]
    right: Callable[..., Tensor] = Convolutional._slice_kernel

    def wrong(self: Convolutional, kernel: Tensor, keep: Tensor, kept: Tensor) -> Tensor:
        return right(self, kernel, keep.roll(1) if self.index == chosen else keep, kept)

    with monkeypatch.context() as patch:
        patch.setattr(Convolutional, "_slice_kernel", wrong)
        with pytest.raises(GateError, match=f"layer {chosen} "):
            case.prove()


@pytest.mark.parametrize("path", zoo())
def test_pruned_equals_masked(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At random ratios, with random scores, under each rule; the last one without the gate too."""
    seed = zlib.crc32(path.stem.encode())
    rng = np.random.default_rng(seed)
    case = Case(small(path), seed=seed)
    for rule in RULES:
        case.replan(rule, ratio=float(rng.uniform(0.1, 0.95)), seed=int(rng.integers(1 << 30)))
        proof = case.prove()
        assert max(proof.masked, proof.folded) <= TOLERANCE
        require_written_whole(case, tmp_path)
    require_faults_seen(case, monkeypatch)
    assert compared(case) <= TOLERANCE


def test_the_zoo_is_there(shared: Path) -> None:
    """No cfg is left out for want of a section: in each, most channels can go."""
    assert len(ZOO_CFGS) >= 8 + 34
    for path in ZOO_CFGS.values():
        graph = channel_graph(build_layers(small(path)))
        issued = np.concatenate(list(graph.issued.values()))
        free = ~np.isin(issued, list(graph.pinned))
        assert free.mean() > 0.5, path.stem
