"""One prune, by one side, in a process of its own: processor seconds and peak memory, as JSON.

    python -m benchmarks.peers.prune_once ours --cfg cfg/yolov4.cfg --weights random.weights

`benchmarks.peers.prune` starts it; `theirs` and `theirs-whole` run in the peer's environment.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.peers.plain_module import PlainModule
from utils.cfg import Cfg, load_cfg, parse_cfg, plain_text
from utils.command.machine.allocator import keep_freed_memory
from utils.data.images import Size
from utils.network.graph import channel_graph
from utils.network.layers import build_layers, input_shape
from utils.network.layers.strides import stride_px
from utils.network.weights import State, load_darknet_weights
from utils.pruning.importance.batch_norm import batch_norm_scale
from utils.pruning.plan import make_plan
from utils.pruning.proof.gate import prove
from utils.pruning.strategy import ChannelRule
from utils.pruning.surgery import prune

RULE = ChannelRule(tied="max", floor="ratio", keep_threshold=False)
LEAST_SHARE = 0.01  # of its channels, that each layer keeps
WARM_UP_CFG = """[net]
width=32
height=32
channels=3

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=8
size=3
pad=1
activation=leaky

[convolutional]
filters=18
size=1
activation=linear

[yolo]
mask=0,1,2
anchors=1,2,3,4,5,6
num=3
classes=1
"""


def main() -> None:
    """Print one line of JSON: cpu_s, peak_mb (above what the process held before), weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=tuple(SIDES))
    parser.add_argument("--cfg", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--ratio", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    job = SIDES[args.side]
    small = parse_cfg(WARM_UP_CFG)
    torch.manual_seed(0)
    job(small, _random_state(small), 0.3)()  # what libraries load and set up at their first use
    cfg = load_cfg(args.cfg)
    state, _ = load_darknet_weights(Path(args.weights), build_layers(cfg))
    work = job(cfg, state, args.ratio)
    del state
    before_mb = _reset_peak_mb()
    start = time.process_time()
    left = work()
    spent = time.process_time() - start
    print(json.dumps({"cpu_s": spent, "peak_mb": _peak_mb() - before_mb, "parameters": left}))


def ours(cfg: Cfg, state: State, ratio: float) -> Callable[[], int]:
    """Graph, plan, surgery and proof, as a pruning script does them; counts what is left."""
    keep_freed_memory()

    def work() -> int:
        graph = channel_graph(build_layers(cfg))
        plan = make_plan(graph, batch_norm_scale(graph, state), RULE, ratio, LEAST_SHARE)
        cut, small = prune(cfg, state, plan)
        prove(state, plan, parse_cfg(plain_text(cut)), small)
        return sum(tensor.numel() for tensor in small.values())

    return work


def theirs(cfg: Cfg, state: State, ratio: float) -> Callable[[], int]:
    """Torch-Pruning on an input as small as the strides allow, which is the kindest to it."""
    side_px = 2 * stride_px(build_layers(cfg))
    return _by_the_peer(cfg, state, ratio, (side_px, side_px))


def theirs_whole(cfg: Cfg, state: State, ratio: float) -> Callable[[], int]:
    """Torch-Pruning on an input of the network's size, as its documentation's examples have it."""
    return _by_the_peer(cfg, state, ratio, input_shape(cfg)[1:])


def _by_the_peer(cfg: Cfg, state: State, ratio: float, size: Size) -> Callable[[], int]:
    """Tracing and one step on the same network as a plain module of torch.

    By BN scale over all layers, as ours.
    """
    peer = importlib.import_module("torch_pruning")
    module = PlainModule(build_layers(cfg), state).eval()
    example = torch.rand(1, input_shape(cfg)[0], *size)

    def work() -> int:
        pruner = peer.pruner.BNScalePruner(
            module,
            example,
            importance=peer.importance.BNScaleImportance(),
            global_pruning=True,
            pruning_ratio=ratio,
            max_pruning_ratio=1 - LEAST_SHARE,
            ignored_layers=module.read_by_heads,
        )
        pruner.step()
        return sum(tensor.numel() for tensor in module.state_dict().values() if tensor.dim())

    return work


SIDES = {"ours": ours, "theirs": theirs, "theirs-whole": theirs_whole}


def _random_state(cfg: Cfg) -> State:
    return {
        f"layers.{layer.index}.{field.name}": torch.rand(field.shape)
        for layer in build_layers(cfg)
        for field in layer.fields()
    }


def _reset_peak_mb() -> float:
    """Forget the peak so far; what the process holds now. Linux only: elsewhere peaks only grow."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status_mb("VmRSS")


def _peak_mb() -> float:
    return _status_mb("VmHWM")


def _status_mb(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
