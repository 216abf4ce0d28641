"""How long pruning takes, step by step, and how much memory: graph, plan, cut, gate.

    python -m benchmarks.prune --cfg cfg/yolov4.cfg --ratio 0.5

Weights are random (gammas spread evenly over 0..1), as the time does not depend on them. Each step
runs once to warm up and --runs times for the median and the range. Peak memory is the process's,
sampled after the steps that come before the gate and after it, beside the size of the weights.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch
from terminaltables import AsciiTable

from models import Darknet
from utils.cfg import load_cfg, parse_cfg, plain_text
from utils.cli import Parser, positive_int, ratio, run_main
from utils.graph import ChannelGraph, channel_graph
from utils.layers import build_layers
from utils.pruning import ChannelRule, PrunePlan, batch_norm_scale, make_plan, prove, prune
from utils.weights import State

RULE = ChannelRule(tied="max", floor="ratio", keep_threshold=False)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = Parser(__doc__)
    parser.add_argument("--cfg", default="cfg/yolov4.cfg", help="network to prune")
    parser.add_argument("--ratio", type=ratio, default=0.5, help="share of the channels to remove")
    parser.add_argument("--runs", type=positive_int, default=5, help="counted runs of each step")
    parser.add_argument("--threads", type=positive_int, default=2, help="CPU threads")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    cfg = load_cfg(args.cfg)
    state = random_state(Darknet(cfg))
    weights_mb = sum(tensor.nbytes for tensor in state.values()) / 1e6
    layers = build_layers(cfg)
    graph = channel_graph(layers)
    scores = batch_norm_scale(graph, state)
    plan = make_plan(graph, scores, RULE, args.ratio, 0.01)
    cut_cfg, cut_state = prune(cfg, state, plan)
    small = parse_cfg(plain_text(cut_cfg))
    rows = [["step", "median s", "range s"]]
    steps: list[tuple[str, Callable[[], object]]] = [
        ("parse and shapes", lambda: build_layers(load_cfg(args.cfg))),
        ("channel graph", lambda: channel_graph(layers)),
        ("scores and plan", lambda: planned(graph, state, args.ratio)),
        ("fold and cut", lambda: prune(cfg, state, plan)),
        ("gate", lambda: prove(state, plan, small, cut_state)),
    ]
    peaks = []
    for name, step in steps:
        if name == "gate":
            peaks.append(peak_mb())
        rows.append([name, *timed(step, args.runs)])
    peaks.append(peak_mb())
    print(
        f"{args.cfg}: {len(layers)} layers, {weights_mb:.0f} MB of weights, {args.threads} threads"
    )
    print(AsciiTable(rows).table)
    print(f"peak memory: {peaks[0]:.0f} MB before the gate, {peaks[1]:.0f} MB with it")


def planned(graph: ChannelGraph, state: State, share: float) -> PrunePlan:
    """Scores and plan in one go."""
    return make_plan(graph, batch_norm_scale(graph, state), RULE, share, 0.01)


def random_state(model: Darknet) -> State:
    """Weights with evenly spread gammas."""
    generator = torch.Generator().manual_seed(0)
    state = {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}
    for key, tensor in state.items():
        if key.endswith("bn.weight"):
            tensor.uniform_(0, 1, generator=generator)
        elif key.endswith("bn.bias"):
            tensor.normal_(0, 0.2, generator=generator)
    return state


def timed(step: Callable[[], object], runs: int) -> tuple[str, str]:
    """Median and range of a step, after one run to warm up."""
    step()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return f"{statistics.median(seconds):.3f}", f"{min(seconds):.3f}..{max(seconds):.3f}"


def peak_mb() -> float:
    """Peak resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    run_main(main)
