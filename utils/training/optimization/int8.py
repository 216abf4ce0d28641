"""Finetuning for 8 bits: the ranges that a run begins with."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import torch

from ...data.loader import Batch
from ...network.darknet import Network
from ...network.int8.convert import measure_ranges, put_on_grids

MEASURED_BATCHES = 8


def begin_in_int8(network: Network, batches: Iterable[Batch], device: torch.device) -> None:
    """Put a network on grids whose ranges are those of some images as they are in use."""
    put_on_grids(network)
    images = (
        batch.to(device).images.to(torch.float32) / 255
        for batch in itertools.islice(batches, MEASURED_BATCHES)
    )
    measure_ranges(network, images)
