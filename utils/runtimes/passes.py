"""One forward pass of one image in a runtime, ready to be timed."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch

from ..cfg import Cfg, plain_text
from ..command.muted import muted
from ..command.optional import require
from ..detection.options import Inputs
from ..network.cfg_of import read_cfg
from ..network.darknet import Build, Network
from ..network.weights import State
from .choose import open_backend, open_made, with_weights
from .needs import needs_of, of_any_bits
from .opencv import read_net, weights_bytes
from .options import Backend, Format, Pass, Runtime

_NOISE = 4  # images that ranges of an int8 file are from


def make_pass(
    runtime: Runtime,
    build: Build,
    cfg: Cfg,
    img_hw: tuple[int, int],
    state: State | None = None,
    device: torch.device | None = None,
) -> Pass:
    """A call that runs the network of `cfg` once; without `state`, with random weights.

    torch runs it fused, on `device`; OpenCV on the CPU. Raises UserError for what OpenCV cannot
    import.
    """
    model: Network = build(cfg, img_hw)
    if state is not None:
        model.load_state(state)
    if runtime == "opencv":
        return _opencv_pass(model)
    network = model.fuse().eval().to(device or "cpu")
    image = torch.rand(1, model.in_channels, *img_hw, device=device or "cpu")
    return lambda: network(image)


def _opencv_pass(model: Network) -> Pass:
    """All outputs of the net: a layer that is timed alone has no head, as `OpenCVDarknet` wants."""
    text = plain_text(model.cfg).encode("ascii", "replace")
    weights = weights_bytes(model.rules, model.state_dict())
    blob = np.random.default_rng(0).random((1, model.in_channels, *model.img_size), np.float32)
    net = read_net(text, weights, model.cfg.source)
    names = net.getUnconnectedOutLayersNames()

    def run() -> object:
        net.setInput(blob)
        return net.forward(names)

    return run


def pass_of(
    runtime: str,
    model: Inputs,
    build: Build,
    device: torch.device | None = None,
    threads: int | None = None,
) -> Pass:
    """A call that runs a model's files once in one of `RUNTIMES`, whose boxes are decoded.

    For a runtime that reads no cfg, a file is made first; one in int8 has its ranges from noise,
    on which its time does not depend. Raises UserError where the runtime is not installed, or
    cannot run the model.
    """
    network: Network = build(read_cfg(model.cfg), model.img_size)
    noise = np.random.default_rng(0).random((_NOISE, 1, network.in_channels, *network.img_size))
    images = list(noise.astype(np.float32))
    kind = cast(Backend, of_any_bits(runtime))
    if kind != runtime:
        require(needs_of(runtime), f"runtime {runtime}")
        with_weights(network, model.weights)
        with muted():  # converters draw bars of their own, and this is timed within one of ours
            predict = open_made(cast(Format, kind), network, threads, images)
    else:
        on = device or torch.device("cpu")
        predict = open_backend(kind, network, model.weights, on, threads)
    image = torch.from_numpy(images[0])
    return lambda: predict(image)
