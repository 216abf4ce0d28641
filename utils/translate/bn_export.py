"""How batch normalisation is written for runtimes that add other epsilons to the variance.

native   as Darknet computes it: for our own training and pruning, and for Darknet
pow2     each channel's kernel, mean and deviation times the power of two that makes the epsilon
         vanish: one file for every runtime (utils/bn_epsilon.py, "any")
fused    none left: folded into the kernels; for inference alone
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from ..cfg import Cfg, remove_option, replace_layers
from ..network.batch_norm.epsilon import for_epsilon
from ..network.later_state import LaterState
from ..network.layers import build_layers
from ..network.layers.normalization import folded, scale_and_bias
from ..network.weights import key_of, split_state
from .options import BnExport


def for_export(
    cfg: Cfg, state: Mapping[str, Tensor], export: BnExport
) -> tuple[Cfg, Mapping[str, Tensor]]:
    """The network with its batch normalisation as `export` says; see the module.

    What is changed is made each time it is asked for: `state` must stay as it is.
    """
    if export == "native":
        return cfg, state
    layers = build_layers(cfg)
    if export == "pow2":
        return cfg, for_epsilon(state, layers, "any")
    changed: dict[str, Callable[[], Tensor]] = {}
    left_out: set[str] = set()
    sections = {}
    for layer, params in zip(layers, split_state(state, layers), strict=True):
        # A [batchnorm] on its own has nothing to be folded into; shared kernels stay as they are.
        if layer.owner != layer.index or not {"bn.weight", "conv.weight"} <= set(params):
            continue
        sections[layer.index] = remove_option(layer.section, "batch_normalize")
        left_out.update(key_of(layer.index, name) for name in params if name != "conv.weight")
        bias = scale_and_bias(params)[1].to(torch.float32)
        changed[key_of(layer.index, "conv.weight")] = partial(_kernel, params)
        changed[key_of(layer.index, "conv.bias")] = partial(Tensor.clone, bias)
    return replace_layers(cfg, sections), LaterState(state, changed, frozenset(left_out))


def _kernel(params: Mapping[str, Tensor]) -> Tensor:
    return folded(params)[0].to(params["conv.weight"].dtype)
