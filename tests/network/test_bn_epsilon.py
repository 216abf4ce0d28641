"""Weights that mean the same under another epsilon of batch normalisation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models import Darknet, convert
from tests.support.installed.opencv_version import needs_cfg_importer
from tests.support.nets import conv, head, healthy_state, image, net, section
from utils.cfg import Cfg, save_cfg
from utils.network.batch_norm.epsilon import for_epsilon
from utils.network.layers.modules import DarknetBatchNorm
from utils.network.options import BnEpsilon
from utils.network.weights import State
from utils.runtimes.opencv import OpenCVDarknet

CFG = net(
    conv(8),
    conv(8, groups=8),
    conv(8, share_index=1, groups=8),
    section("shortcut", frm=-2),
    conv(6, 1, activation="mish"),
    head(),
)
PLAIN = net(conv(8, stride=2), conv(8), section("shortcut", frm=-2), conv(6, 1), head())


def sparse_state(cfg: Cfg) -> State:
    """Variances down to 1e-5, as sparse training leaves them."""
    state = healthy_state(Darknet(cfg))
    for key in [k for k in state if k.endswith("running_var")]:
        scale = torch.logspace(-5, 0, len(state[key]))
        state[key] = state[key] / state[key].max() * scale
    return state


def heads(cfg: Cfg, state: State, eps: float | None = None) -> torch.Tensor:
    model = Darknet(cfg).double().eval()
    model.load_state({k: v.double() for k, v in state.items()})
    for module in model.modules():
        if isinstance(module, DarknetBatchNorm) and eps is not None:
            module.eps = eps
    with torch.no_grad():
        return torch.cat([x.flatten() for x in model.raw_heads(image(model).double())])


@pytest.mark.parametrize("eps", [1e-5, 1e-6, 1e-3])
def test_any_is_the_same_under_every_epsilon(eps: float) -> None:
    state = sparse_state(CFG)
    original = heads(CFG, state)
    scaled = for_epsilon(state, Darknet(CFG).rules, "any")
    tolerance = 1e-3 if eps == 1e-3 else 5e-6
    assert (heads(CFG, scaled, eps) - original).abs().max() < tolerance * original.abs().max()
    if eps != 1e-5:  # and without it, it is not
        assert (heads(CFG, state, eps) - original).abs().max() > 1e-2 * original.abs().max()


def test_opencv_is_right_at_its_own_epsilon() -> None:
    state = sparse_state(CFG)
    shifted = for_epsilon(state, Darknet(CFG).rules, "opencv")
    original = heads(CFG, state)
    assert (heads(CFG, shifted, 1e-6) - original).abs().max() < 1e-6 * original.abs().max()


def test_darknet_leaves_everything_as_it_is() -> None:
    state = sparse_state(CFG)
    same = for_epsilon(state, Darknet(CFG).rules, "darknet")
    assert all(same[key] is tensor for key, tensor in state.items())


def test_factors_are_powers_of_two() -> None:
    state = sparse_state(PLAIN)
    scaled = for_epsilon(state, Darknet(PLAIN).rules, "any")
    key = "layers.0.conv.weight"
    factor = (scaled[key] / state[key]).flatten(1)[:, 0]
    assert torch.equal(factor.log2(), factor.log2().round())
    assert factor.max() > 1


@needs_cfg_importer
@pytest.mark.parametrize("epsilon", ["opencv", "any"])
def test_opencv_runs_the_converted_file(tmp_path: Path, epsilon: BnEpsilon) -> None:
    cfg = tmp_path / "x.cfg"
    save_cfg(PLAIN, cfg)
    model = Darknet(cfg)
    model.load_state(sparse_state(PLAIN))
    torch.save({"model": model.state_dict()}, tmp_path / "x.pt")
    x = image(model, batch=1)
    with torch.no_grad():
        ours = model.eval().raw_heads(x)[0]

    def error(kind: BnEpsilon) -> float:
        runtime = OpenCVDarknet(cfg, convert(cfg, tmp_path / "x.pt", kind))
        return float((runtime.head_outputs(x)[0] - ours).abs().max() / ours.abs().max())

    assert error(epsilon) < 1e-5
    assert error("darknet") > 1e-3
