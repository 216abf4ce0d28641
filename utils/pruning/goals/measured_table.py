"""A latency table of a model in any runtime, on this machine."""

from __future__ import annotations

import math
import platform
from dataclasses import replace
from typing import cast, get_args

import torch

from ...command.machine.device import pick_device
from ...command.machine.timing import time_forward_ms
from ...detection.options import Inputs
from ...network.cfg_of import read_cfg
from ...network.darknet import Build, Network
from ...network.graph import channel_graph
from ...runtimes.needs import opencv_reads_cfg
from ...runtimes.options import Runtime
from ...runtimes.passes import pass_of
from .known_table import as_file
from .latency_goal import measure_goal
from .table_file import TableFile

_RUNS = 20


def measure_table_file(
    model: Inputs, runtime: str, build: Build, device: str = "", threads: int | None = None
) -> TableFile:
    """Time the whole model in `runtime`, one of `RUNTIMES`, and its layers one by one.

    A runtime that reads no cfg would need a file for each layer and width, which takes hours:
    there PyTorch says how layers compare, and the runtime what the whole takes. `build` is
    `models.Darknet`. Raises UserError for what the runtime cannot load.
    """
    if threads:
        torch.set_num_threads(threads)
    network: Network = build(read_cfg(model.cfg), model.img_size, weights=model.weights)
    layers_in = layers_runtime(runtime)
    goal = measure_goal(
        build,
        channel_graph(network.rules),
        network,
        network.state_dict(),
        math.inf,
        layers_in,
        device,
    )
    table = goal.table
    if layers_in != runtime:
        run = pass_of(runtime, model, build, pick_device(device), threads)
        table = replace(table, whole=time_forward_ms(run, runs=_RUNS))
    return as_file(table, network.cfg, network.img_size, runtime, platform.machine())


def layers_runtime(runtime: str) -> Runtime:
    """What times the layers for a runtime: itself, where it reads a cfg."""
    reads_cfg = runtime in get_args(Runtime) and (runtime != "opencv" or opencv_reads_cfg())
    return cast(Runtime, runtime) if reads_cfg else "torch"
