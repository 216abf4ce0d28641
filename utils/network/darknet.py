"""What the rooms need of the network; `models.Darknet` is one, and `utils` does not import it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..cfg import Cfg
from .layers import Head, Layer
from .weights import State


class Network(Protocol):
    """A detector built from a cfg: its layers' rules, and one module for each.

    What returns Any is the module itself, as torch's methods do.
    """

    cfg: Cfg
    rules: tuple[Layer, ...]
    heads: tuple[Head, ...]
    layers: nn.ModuleList
    in_channels: int
    img_size: tuple[int, int]  # (height, width) in pixels
    seen: int
    names: tuple[str, ...]  # of the classes; none where no checkpoint says them
    best_conf: float | None  # the score of the best F1, where a checkpoint says it
    grids: nn.ModuleDict  # of values in int8, by their names; empty in float (see `int8`)
    ranges: dict[str, tuple[float, float]]  # of int8, where a checkpoint holds some
    training: bool

    @property
    def nc(self) -> int: ...

    @property
    def stride(self) -> int: ...

    def __call__(self, x: Tensor) -> Any: ...

    def raw_heads(self, x: Tensor) -> list[Tensor]: ...

    def observe(
        self, x: Tensor, layers: Sequence[int]
    ) -> tuple[list[Tensor], dict[int, Tensor]]: ...

    def load_weights(self, path: str | Path) -> Any: ...

    def load_state(self, state: Mapping[str, Tensor]) -> None: ...

    def save_weights(self, path: str | Path) -> None: ...

    def state_dict(self) -> State: ...

    def parameters(self) -> Iterator[torch.nn.Parameter]: ...

    def answering_(self) -> Any: ...

    def fuse(self) -> Any: ...

    def eval(self) -> Any: ...

    def train(self, mode: bool = True) -> Any: ...

    def to(self, *args: Any, **kwargs: Any) -> Any: ...


class Build(Protocol):
    """`models.Darknet` itself: from a cfg (a path or parsed) to the network."""

    def __call__(
        self,
        cfg: str | Path | Cfg,
        img_size: tuple[int, int] | None = None,
        *,
        weights: str | Path | State | None = None,
        lent: bool = False,
    ) -> Any: ...


def names_of(network: Network) -> tuple[str, ...]:
    """A name per class: as the network's files say, else their numbers."""
    names = network.names
    return names if len(names) == network.nc else tuple(str(k) for k in range(network.nc))


def raw_ends(network: Network, x: Tensor) -> list[Tensor]:
    """What each head reads; of a network without heads, its last layer's value."""
    if network.heads:
        return network.raw_heads(x)
    last: Tensor = network(x)
    return [last]
