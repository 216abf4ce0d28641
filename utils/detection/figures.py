"""What a model costs and is worth, before and after."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ..command.machine.device import pick_device
from ..command.machine.timing import Latency, time_alternately_ms
from ..command.table import table
from ..data.darknet_files import load_data_file
from ..network.cost import count_macs, count_parameters, file_bytes
from ..network.darknet import Network
from .options import Scoring
from .results import Metrics

_RUNS, _WARMUP = 12, 2
_MOST_S = 5.0  # for timing a network


@dataclass(frozen=True)
class ModelFigures:
    """What a model costs and is worth."""

    parameters: int
    macs: int
    file_bytes: int
    latency: Latency | None = None
    map50: float | None = None
    map: float | None = None
    best_conf: float | None = None  # the threshold of the best F1; nan where nothing is found


def latencies(networks: Sequence[Network], how: Scoring) -> list[Latency]:
    """Latency of one image through each network, fused, in turns."""
    device = pick_device(how.device)
    calls = [_pass(_fused(network, device), network, device) for network in networks]
    return time_alternately_ms(calls, _RUNS, _WARMUP, _MOST_S * len(calls))


def figures(
    network: Network, how: Scoring, timed: bool = True, latency: Latency | None = None
) -> ModelFigures:
    """Size, `latency` (measured here if it is to be `timed` and none is given), and mAP on data."""
    macs = count_macs(network.rules)
    metrics = None
    if how.data or (timed and latency is None):
        device = pick_device(how.device)
        fused = _fused(network, device)
        if timed and latency is None:
            call = _pass(fused, network, device)
            (latency,) = time_alternately_ms([call], _RUNS, _WARMUP, _MOST_S)
        metrics = _scored(fused, network, how, device) if how.data else None
    return ModelFigures(
        parameters=count_parameters(network.rules),
        macs=macs,
        file_bytes=file_bytes(network.rules),
        latency=latency,
        map50=metrics.map50 if metrics else None,
        map=metrics.map if metrics else None,
        best_conf=metrics.best_conf if metrics else None,
    )


def _fused(network: Network, device: torch.device) -> nn.Module:
    fused: nn.Module = copy.deepcopy(network).answering_().fuse().eval().to(device)
    return fused


def _pass(fused: nn.Module, network: Network, device: torch.device) -> Callable[[], object]:
    """One forward pass of a random image that is there already."""
    image = torch.rand(1, network.in_channels, *network.img_size, device=device)
    image = image.contiguous(memory_format=torch.channels_last)
    return lambda: fused(image)


def _scored(fused: nn.Module, network: Network, how: Scoring, device: torch.device) -> Metrics:
    # Data sets and OpenCV load here: most prunes are given none.
    from .evaluate import EvalOptions
    from .score import score

    return score(fused, load_data_file(how.data), network, how, EvalOptions(device=device))


def comparison_table(before: ModelFigures, after: ModelFigures) -> str:
    """Metric | Before | After | Change."""
    return table(comparison_rows(before, after), right=(1, 2, 3))


def comparison_rows(before: ModelFigures, after: ModelFigures) -> list[list[str]]:
    """The heads and cells of `comparison_table`."""
    rows = [["Metric", "Before", "After", "Change"]]
    for name, old, new in (
        ("mAP@.5", before.map50, after.map50),
        ("mAP@.5:.95", before.map, after.map),
    ):
        if old is not None and new is not None:
            rows.append([name, f"{old:.3f}", f"{new:.3f}", f"{new - old:+.3f}"])
    rows += [
        ["Parameters", *_counted(before.parameters, after.parameters)],
        ["MACs", *_counted(before.macs, after.macs)],
        ["File (bytes)", *_counted(before.file_bytes, after.file_bytes)],
    ]
    if before.latency and after.latency:
        rows.append(["Forward (ms)", *_latency(before.latency, after.latency)])
    return rows


def are_apart(one: Latency, other: Latency) -> bool:
    """Whether the spreads (8 runs in 10) do not meet; where they do, a ratio would be chance."""
    return one.p90_ms < other.p10_ms or other.p90_ms < one.p10_ms


def _counted(old: int, new: int) -> tuple[str, str, str]:
    return f"{old:,}", f"{new:,}", _change(old, new)


def shown_latency(time: Latency) -> str:
    """`5.25 (5.10..5.61)`: the median and the range of 8 runs in 10, in milliseconds."""
    return f"{time.median_ms:.2f} ({time.p10_ms:.2f}..{time.p90_ms:.2f})"


def _latency(old: Latency, new: Latency) -> tuple[str, str, str]:
    change = _change(old.median_ms, new.median_ms) if are_apart(old, new) else "not told apart"
    return shown_latency(old), shown_latency(new), change


def _change(old: float, new: float) -> str:
    return f"{100 * (new - old) / old:+.1f}%" if old else "-"
