"""What a model costs and is worth, before and after."""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..cfg import Cfg
from ..cfg_flags import chosen_fit, chosen_nms
from ..cli import pick_device
from ..data import DataSpec, DetectionDataset, load_data_file, make_loader
from ..errors import UserError
from ..evaluate import Metrics, evaluate
from ..layers import Head, Layer
from ..profile import time_forward_ms
from ..report import ModelFigures, count_parameters, file_bytes
from ..weights import State

_MOST_S = 5.0  # for timing a network
# A pass of a larger network takes a second: it is timed only along with an evaluation.
_GLANCE_MACS = 10e9


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
    return bool(args.data) or sum(layer.macs() for layer in model.rules) <= _GLANCE_MACS


def figures(model: Model, args: argparse.Namespace, timed: bool = True) -> ModelFigures:
    """Size, latency of the fused network if it is to be `timed`, and mAP when `--data` is given."""
    macs = sum(layer.macs() for layer in model.rules)
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
    return evaluate(predict, loader, spec.nc, spec.names, nms_kind=kind, device=device)
