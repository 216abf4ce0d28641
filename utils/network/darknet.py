"""What the runtimes need of a network; `models.Darknet` is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ..cfg import Cfg
from .layers import Head, Layer
from .weights import State


class Network(Protocol):
    """A detector built from a cfg."""

    cfg: Cfg
    rules: tuple[Layer, ...]
    heads: tuple[Head, ...]
    in_channels: int
    img_size: tuple[int, int]

    @property
    def nc(self) -> int: ...

    @property
    def stride(self) -> int: ...

    def __call__(self, x: Tensor) -> Any: ...

    def load_weights(self, path: str | Path) -> Any: ...

    def load_state(self, state: State) -> None: ...

    def save_weights(self, path: str | Path) -> None: ...

    def raw_heads(self, x: Tensor) -> list[Tensor]: ...

    def state_dict(self) -> State: ...

    def fuse(self) -> Any: ...

    def eval(self) -> Any: ...

    def parameters(self) -> Iterator[torch.nn.Parameter]: ...
