"""The processes that train together: `torchrun --nproc_per_node=N train.py ...`.

torchrun tells each process its rank by environment variables. Every rank builds the same network,
takes its share of each batch, and averages gradients with the others (torch's DDP); the first one
alone writes files and talks.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ...command.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among all; a run of one process is rank 0 of 1."""

    rank: int = 0
    world: int = 1
    local: int = 0  # rank on this machine: the number of its GPU

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and talks."""
        return self.rank == 0

    @property
    def share(self) -> tuple[int, int]:
        """Its part of each batch: (rank, of)."""
        return self.rank, self.world

    def device(self, name: str) -> str:
        """What `--device` means here: without a name, each rank takes a GPU of its own."""
        alone = self.world == 1 or name or not torch.cuda.is_available()
        return name if alone else str(self.local)

    def wrap(self, model: nn.Module, some_unused: bool) -> nn.Module:
        """The module to call in training: gradients are averaged over all ranks on the way back.

        `some_unused`: some parameters may get no gradient in some steps.
        """
        if self.world == 1:
            return model
        device = next(model.parameters()).device
        return DistributedDataParallel(
            model,
            device_ids=[device] if device.type == "cuda" else None,
            find_unused_parameters=some_unused,
        )

    def mean(self, value: float) -> float:
        """Mean over all ranks."""
        if self.world == 1:
            return value
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        total = torch.tensor(value, dtype=torch.float64, device=device)
        dist.all_reduce(total)
        return float(total) / self.world

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, in their order."""
        if self.world == 1:
            return [value]
        values: list[T] = [value] * self.world
        dist.all_gather_object(values, value)
        return values

    def same(self, value: T) -> T:
        """The first rank's value, on all."""
        return self.gather(value)[0]


@contextmanager
def started_ranks() -> Iterator[Ranks]:
    """Meet the other processes that torchrun has started, if any.

    GPUs talk through NCCL, CPUs through gloo. Raises UserError for an environment in which ranks
    cannot meet.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    ranks = Ranks(int(os.environ["RANK"]), world, int(os.environ.get("LOCAL_RANK", "0")))
    if torch.cuda.is_available():
        torch.cuda.set_device(ranks.local)
    try:
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"rank {ranks.rank} of {world} cannot reach the others: {reason}") from None
    if not ranks.first:
        logging.getLogger().setLevel(logging.ERROR)
    try:
        yield ranks
    finally:
        dist.destroy_process_group()
