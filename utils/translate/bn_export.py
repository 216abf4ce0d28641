"""How batch normalisation is written for runtimes that add other epsilons to the variance.

native   as Darknet computes it: for our own training and pruning, and for Darknet
pow2     each channel's kernel, mean and deviation times the power of two that makes the epsilon
         vanish: one file for every runtime (utils/bn_epsilon.py, "any")
fused    none left: folded into the kernels; for inference alone
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..cfg import Cfg, remove_option, replace_layers
from ..network.batch_norm.epsilon import for_epsilon
from ..network.layers import build_layers
from ..network.layers.normalization import folded
from ..network.weights import State, key_of, split_state
from .options import BnExport


def for_export(cfg: Cfg, state: Mapping[str, Tensor], export: BnExport) -> tuple[Cfg, State]:
    """The network with its batch normalisation as `export` says; see the module."""
    if export == "native":
        return cfg, dict(state)
    layers = build_layers(cfg)
    if export == "pow2":
        return cfg, for_epsilon(state, layers, "any")
    fused, sections = dict(state), {}
    for layer, params in zip(layers, split_state(state, layers), strict=True):
        # A [batchnorm] on its own has nothing to be folded into; shared kernels stay as they are.
        if layer.owner != layer.index or not {"bn.weight", "conv.weight"} <= set(params):
            continue
        sections[layer.index] = remove_option(layer.section, "batch_normalize")
        for name in params:
            del fused[key_of(layer.index, name)]
        kernel, bias = folded(params)
        fused[key_of(layer.index, "conv.weight")] = kernel.to(params["conv.weight"].dtype)
        fused[key_of(layer.index, "conv.bias")] = bias.to(torch.float32)
    return replace_layers(cfg, sections), fused
