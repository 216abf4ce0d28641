"""Weights trained for other classes: all but the heads' last convolutions fit.

Shapes decide, never a file's name. A `.weights` file has no shapes, but its length tells the number
of classes: each class adds the same count of numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ...cfg import Cfg
from ...command.errors import UserError
from ...command.files import require_file
from ..layers import Head, Layer, build_layers
from ..weights import State, index_of, is_checkpoint, load_checkpoint, load_darknet_weights
from .retarget import with_classes


def head_layers(rules: Sequence[Layer]) -> frozenset[int]:
    """The layers whose filters depend on the classes: those that heads read."""
    return frozenset(source for rule in rules if isinstance(rule, Head) for source in rule.sources)


def load_but_heads(path: str | Path, cfg: Cfg, own: Mapping[str, Tensor]) -> State | None:
    """The state of every layer that no head reads; None when more than the classes differ.

    `own`: the state of the network that `cfg` describes, for its shapes.
    """
    rules = build_layers(cfg)
    heads = head_layers(rules)
    if not heads:
        return None
    if is_checkpoint(path):
        state: State = dict(load_checkpoint(path)["model"])
    else:
        other = _with_the_files_classes(path, cfg, rules)
        if other is None:
            return None
        state = load_darknet_weights(path, build_layers(other))[0]
    left = {key: tensor for key, tensor in own.items() if index_of(key) not in heads}
    if any(key not in state or state[key].shape != tensor.shape for key, tensor in left.items()):
        return None
    return {key: state[key] for key in left}


def _with_the_files_classes(path: str | Path, cfg: Cfg, rules: Sequence[Layer]) -> Cfg | None:
    """The cfg for the number of classes that a `.weights` file's length tells, if it tells one."""
    heads = [rule for rule in rules if isinstance(rule, Head)]
    size = require_file(path, "the weights").stat().st_size
    per_class = _numbers(with_classes(cfg, heads[0].nc + 1)) - _numbers(cfg)
    for header in (20, 16):
        more, rest = divmod((size - header) // 4 - _numbers(cfg), per_class)
        if not rest and heads[0].nc + more > 0:
            other = with_classes(cfg, heads[0].nc + more)
            try:
                load_darknet_weights(path, build_layers(other))
            except UserError:
                continue
            return other
    return None


def _numbers(cfg: Cfg) -> int:
    return sum(field.size for layer in build_layers(cfg) for field in layer.loaded_fields())
