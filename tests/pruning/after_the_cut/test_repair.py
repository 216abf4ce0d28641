"""Kernels fitted again after a cut: exact where the kept channels say all."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from models import Darknet
from tests.support.nets import conv, head, healthy, net, random_net
from tests.support.nets import noise as wide_noise
from utils.cfg import Cfg, parse_cfg, plain_text
from utils.command.errors import UserError
from utils.network.graph import channel_graph
from utils.pruning import repair as module
from utils.pruning.plan import PrunePlan, keep_everything
from utils.pruning.repair import refit_, repaired
from utils.pruning.surgery import prune


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return wide_noise(*shape, seed=seed).float()


def cut(model: Darknet, gone: dict[int, list[int]]) -> tuple[PrunePlan, Darknet]:
    """The network without these channels of these layers."""
    graph = channel_graph(model.rules)
    keep = np.ones(graph.count, bool)
    for layer, channels in gone.items():
        keep[graph.issued[layer][channels]] = False
    whole = keep_everything(graph)
    plan = PrunePlan(graph, keep, whole.threshold, whole.candidates)
    cfg, state = prune(model.cfg, model.state_dict(), plan)
    return plan, Darknet(parse_cfg(plain_text(cfg), "cut.cfg"), weights=state).eval()


def twins(cfg: Cfg) -> Darknet:
    """A network whose first layer's channels 0 and 1 are one and the same."""
    model = healthy(cfg)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    for key, tensor in state.items():
        if key.startswith("layers.0."):
            tensor[1] = tensor[0]
    model.load_state(state)
    return model.eval()


def apart(a: Darknet, b: Darknet, x: torch.Tensor) -> float:
    with torch.no_grad():
        pairs = zip(a.raw_heads(x), b.raw_heads(x), strict=True)
        return max(float((one - two).abs().max() / one.abs().max()) for one, two in pairs)


def test_what_a_twin_tells_is_won_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a ridge the kernel behind takes all from the channel that is left."""
    monkeypatch.setattr(module, "RIDGE", 1e-9)
    model = twins(net(conv(8), conv(6, stride=2), head()))
    plan, compact = cut(model, {0: [1]})
    x = noise(6, 3, 32, 32)
    before = apart(model, compact, x)
    assert refit_(compact, model, plan, x) == 2
    assert before > 0.05  # negative control: folding alone does not know of the twin
    assert apart(model, compact, noise(2, 3, 32, 32, seed=9)) < 1e-3


def test_it_helps_where_channels_only_resemble_each_other() -> None:
    model = healthy(net(conv(16), conv(16, stride=2), conv(16, 1), head())).eval()
    plan, compact = cut(model, {0: [3, 4], 1: [0, 7]})
    other = copy.deepcopy(compact)
    x, unseen = noise(16, 3, 32, 32), noise(4, 3, 32, 32, seed=5)
    refit_(compact, model, plan, x)

    def error(one: Darknet) -> float:
        with torch.no_grad():
            pairs = zip(model.raw_heads(unseen), one.raw_heads(unseen), strict=True)
            return sum(float((a - b).square().mean()) for a, b in pairs)

    assert error(compact) < 0.8 * error(other)


def test_layers_before_the_cut_and_shared_kernels_stay() -> None:
    model = healthy(net(conv(8), conv(8), conv(8, stride=2), head())).eval()
    plan, compact = cut(model, {1: [0]})
    before = {key: tensor.clone() for key, tensor in compact.state_dict().items()}
    assert refit_(compact, model, plan, noise(3, 3, 32, 32)) == 2
    after = compact.state_dict()
    changed = {key.split(".")[1] for key in after if not torch.equal(after[key], before[key])}
    assert changed == {"2", "3"}


def test_nothing_cut_is_nothing_changed() -> None:
    model = healthy(net(conv(8), conv(8), head())).eval()
    plan, compact = cut(model, {})
    assert refit_(compact, model, plan, noise(2, 3, 32, 32)) == 0
    assert apart(model, compact, noise(2, 3, 32, 32)) < 1e-6


@pytest.mark.parametrize("seed", range(12))
def test_any_network_can_be_fitted(seed: int) -> None:
    """Routes, shortcuts, groups, pools: the fit on its own images is no worse than none."""
    model = healthy(random_net(seed)).eval()
    graph = channel_graph(model.rules)
    free = [i for i, ids in graph.issued.items() if not set(ids.tolist()) & set(graph.pinned)]
    rng = np.random.default_rng(seed)
    keep = np.ones(graph.count, bool)
    for layer in free:
        keep[rng.choice(graph.issued[layer])] = len(graph.issued[layer]) < 3
    for parts in graph.equal_parts:
        keep[np.asarray(parts).ravel()] = True
    whole = keep_everything(graph)
    plan = PrunePlan(graph, keep, whole.threshold, whole.candidates)
    cfg, state = prune(model.cfg, model.state_dict(), plan)
    compact = Darknet(parse_cfg(plain_text(cfg), "cut.cfg"), weights=state).eval()
    x = noise(4, *((model.in_channels, *model.img_size)))
    refit_(compact, model, plan, x)
    assert all(bool(t.isfinite().all()) for t in compact.state_dict().values())


def test_blocks_are_refused() -> None:
    model = healthy(net(conv(8), conv(8), head()))
    other: Any = healthy(net(conv(8), head()))
    plan, _ = cut(model, {})
    with pytest.raises(UserError, match=r"--repair: .* blocks are gone"):
        repaired(model, other, plan, None, 4)  # type: ignore[arg-type]
