"""What a model costs and is worth, before and after."""

from __future__ import annotations

import argparse
import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..cfg import Cfg
from ..command.device import pick_device
from ..command.errors import UserError
from ..command.table import table
from ..command.timing import Latency, time_forward_ms
from ..data.darknet_files import DataSpec, load_data_file
from ..data.dataset import DetectionDataset
from ..data.loader import make_loader
from ..network.cost import count_macs, count_parameters, file_bytes
from ..network.layers import Head, Layer
from ..network.weights import State
from .as_the_cfg_says import chosen_fit, chosen_nms
from .evaluate import EvalOptions, evaluate
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


class Model(Protocol):
    """What the engine needs of `models.Darknet`."""

    rules: tuple[Layer, ...]
    heads: tuple[Head, ...]
    cfg: Cfg
    nc: int
    seen: int
    img_size: tuple[int, int]
    in_channels: int

    def load_weights(self, path: str | Path) -> Any: ...

    def load_state(self, state: State) -> None: ...

    def fuse(self) -> nn.Module: ...

    def state_dict(self) -> State: ...


def worth_timing(model: Model, args: argparse.Namespace) -> bool:
    """Whether a pass is short, or an evaluation takes longer anyway."""
    return bool(args.data) or count_macs(model.rules) <= _GLANCE_MACS


def figures(model: Model, args: argparse.Namespace, timed: bool = True) -> ModelFigures:
    """Size, latency of the fused network if it is to be `timed`, and mAP when `--data` is given."""
    macs = count_macs(model.rules)
    if not (args.data or timed):
        return ModelFigures(count_parameters(model.rules), macs, file_bytes(model.rules))
    device = pick_device(args.device)
    fused = copy.deepcopy(model).fuse().eval().to(device)
    image = torch.rand(1, model.in_channels, *model.img_size, device=device)
    image = image.contiguous(memory_format=torch.channels_last)
    latency = time_forward_ms(lambda: fused(image), runs=20, warmup=3, most_s=_MOST_S)
    metrics = _score(fused, model, args) if args.data else None
    return ModelFigures(
        parameters=count_parameters(model.rules),
        macs=macs,
        file_bytes=file_bytes(model.rules),
        latency=latency,
        map50=metrics.map50 if metrics else None,
        map=metrics.map if metrics else None,
    )


def data_spec(model: Model, args: argparse.Namespace) -> DataSpec:
    """The data set of `--data`. Raises UserError when it has other classes than the model."""
    spec = load_data_file(args.data)
    if spec.nc != model.nc:
        raise UserError(
            f"{args.data}: has {spec.nc} classes, but {model.cfg.source} is made for {model.nc}"
        )
    return spec


def _score(network: nn.Module, model: Model, args: argparse.Namespace) -> Metrics:
    spec = data_spec(model, args)
    fit = chosen_fit(args.fit, model.cfg)
    dataset = DetectionDataset(spec.require("valid"), spec.nc, model.img_size, fit=fit)
    loader = make_loader(dataset, args.batch_size, args.workers)

    def predict(images: Tensor) -> Tensor:
        boxes: Tensor = network(images)
        return boxes

    kind = chosen_nms(args.nms, model.heads[-1].section)
    device = pick_device(args.device)
    options = EvalOptions(nms_kind=kind, device=device)
    return evaluate(predict, loader, spec.nc, spec.names, options)


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
