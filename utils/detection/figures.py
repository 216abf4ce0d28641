"""What a model costs and is worth, before and after."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from ..command.device import pick_device
from ..command.table import table
from ..command.timing import Latency, time_forward_ms
from ..data.darknet_files import load_data_file
from ..network.cost import count_macs, count_parameters, file_bytes
from ..network.darknet import Network
from .options import Scoring
from .results import Metrics

_MOST_S = 5.0  # for timing a network
# A pass of a larger network takes a second: it is timed only along with an evaluation.
_GLANCE_MACS = 10e9


@dataclass(frozen=True)
class ModelFigures:
    """What a model costs and is worth."""

    parameters: int
    macs: int
    file_bytes: int
    latency: Latency | None = None
    map50: float | None = None
    map: float | None = None


def worth_timing(network: Network, scored: bool) -> bool:
    """Whether a pass is short, or an evaluation takes longer anyway."""
    return scored or count_macs(network.rules) <= _GLANCE_MACS


def figures(network: Network, how: Scoring, timed: bool = True) -> ModelFigures:
    """Size, latency of the fused network if it is to be `timed`, and mAP where there is data."""
    macs = count_macs(network.rules)
    if not (how.data or timed):
        return ModelFigures(count_parameters(network.rules), macs, file_bytes(network.rules))
    device = pick_device(how.device)
    fused = copy.deepcopy(network).fuse().eval().to(device)
    image = torch.rand(1, network.in_channels, *network.img_size, device=device)
    image = image.contiguous(memory_format=torch.channels_last)
    latency = time_forward_ms(lambda: fused(image), runs=20, warmup=3, most_s=_MOST_S)
    metrics = _scored(fused, network, how, device) if how.data else None
    return ModelFigures(
        parameters=count_parameters(network.rules),
        macs=macs,
        file_bytes=file_bytes(network.rules),
        latency=latency,
        map50=metrics.map50 if metrics else None,
        map=metrics.map if metrics else None,
    )


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
            rows.append([name, f"{old:.6f}", f"{new:.6f}", f"{new - old:+.6f}"])
    bflops = (2 * before.macs / 1e9, 2 * after.macs / 1e9)
    rows += [
        ["Parameters", *_counted(before.parameters, after.parameters)],
        ["MACs", *_counted(before.macs, after.macs)],
        ["BFLOPs", f"{bflops[0]:.3f}", f"{bflops[1]:.3f}", _change(*bflops)],
        ["File (bytes)", *_counted(before.file_bytes, after.file_bytes)],
    ]
    if before.latency and after.latency:
        rows.append(["Forward (ms)", *_latency(before.latency, after.latency)])
    return rows


def _counted(old: int, new: int) -> tuple[str, str, str]:
    return f"{old:,}", f"{new:,}", _change(old, new)


def _latency(old: Latency, new: Latency) -> tuple[str, str, str]:
    def shown(time: Latency) -> str:
        return f"{time.median_ms:.2f} ({time.p10_ms:.2f}..{time.p90_ms:.2f})"

    return shown(old), shown(new), _change(old.median_ms, new.median_ms)


def _change(old: float, new: float) -> str:
    return f"{100 * (new - old) / old:+.1f}%" if old else "-"
