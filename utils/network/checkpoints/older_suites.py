"""Tensors named as the older PyTorch suites for Darknet cfgs name them, under our names.

Known are tanluren's (`module_list.4.Conv2d.weight`, as in the v3 of ultralytics) and Lam1360's
(`module_list.4.conv_4.weight`): `module_list.N` is layer N of the cfg, as here. Anchors, which the
cfg holds, and counters of batches, which nobody reads, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_PREFIX = "module_list."
_CONVOLUTION = re.compile(r"module_list\.(\d+)\.(?:Conv2d|conv(?:_\d+)?)\.(weight|bias)")
_NORMALIZATION = re.compile(
    r"module_list\.(\d+)\.(?:BatchNorm2d|batch_norm(?:_\d+)?|bn)"
    r"\.(weight|bias|running_mean|running_var)"
)
_NO_WEIGHTS = re.compile(r".*\.(?:num_batches_tracked|anchors?|anchor_vec|anchor_wh|grid(?:_xy)?)")


def is_of_an_older_suite(state: Mapping[str, Tensor]) -> bool:
    """Whether all names begin as theirs do."""
    return bool(state) and all(_bare(key).startswith(_PREFIX) for key in state)


def under_our_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors; a name that is not known stays as it is, so that loading can tell it."""
    found: dict[str, Tensor] = {}
    for key, tensor in state.items():
        bare = _bare(key)
        if convolution := _CONVOLUTION.fullmatch(bare):
            found[f"layers.{convolution[1]}.conv.{convolution[2]}"] = tensor
        elif normalization := _NORMALIZATION.fullmatch(bare):
            found[f"layers.{normalization[1]}.bn.{normalization[2]}"] = tensor
        elif not _NO_WEIGHTS.fullmatch(bare):
            found[key] = tensor
    return found


def _bare(key: str) -> str:
    """Without what DataParallel puts before it."""
    return key.removeprefix("module.")
