"""How long pruning takes, step by step, and how much memory: graph, plan, cut, gate.

    python -m benchmarks.prune --cfg cfg/yolov4.cfg --ratio 0.5

Weights are random (gammas spread evenly over 0..1), as the time does not depend on them. Each step
runs once to warm up and --runs times for the median and the range. Memory is what loading, cutting
and proving add to the process's peak resident size over what it is with the libraries loaded; the
weights are made by another process, so that nothing hides in a peak of before.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from models import Darknet
from utils.cfg import load_cfg, parse_cfg, plain_text
from utils.command.cli import Parser, positive_int, ratio, run_main
from utils.command.table import table
from utils.network.graph import ChannelGraph, channel_graph
from utils.network.layers import build_layers
from utils.network.weights import State
from utils.pruning.importance.batch_norm import batch_norm_scale
from utils.pruning.plan import PrunePlan, make_plan
from utils.pruning.proof.gate import prove
from utils.pruning.strategy import ChannelRule
from utils.pruning.surgery import prune

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
    start_mb = peak_mb()
    state = loaded_state(args.cfg)
    weights_mb = sum(tensor.nbytes for tensor in state.values()) / 1e6
    layers = build_layers(cfg)
    graph = channel_graph(layers)
    scores = batch_norm_scale(graph, state)
    plan = make_plan(graph, scores, RULE, args.ratio, 0.01)
    cut_cfg, cut_state = prune(cfg, state, plan)
    small = parse_cfg(plain_text(cut_cfg))
    peaks = [peak_mb() - start_mb]
    prove(state, plan, small, cut_state)
    peaks.append(peak_mb() - start_mb)
    rows = [["step", "median s", "range s"]]
    steps: list[tuple[str, Callable[[], object]]] = [
        ("parse and shapes", lambda: build_layers(load_cfg(args.cfg))),
        ("channel graph", lambda: channel_graph(layers)),
        ("scores and plan", lambda: planned(graph, state, args.ratio)),
        ("fold and cut", lambda: prune(cfg, state, plan)),
        ("gate", lambda: prove(state, plan, small, cut_state)),
    ]
    rows += [[name, *timed(step, args.runs)] for name, step in steps]
    print(
        f"{args.cfg}: {len(layers)} layers, {weights_mb:.0f} MB of weights, {args.threads} threads"
    )
    print(table(rows))
    print(
        f"peak memory above the start's {start_mb:.0f} MB: {peaks[0]:.0f} MB until the gate, "
        f"{peaks[1]:.0f} MB with it, {peaks[1] / weights_mb:.2f} times the weights"
    )


def planned(graph: ChannelGraph, state: State, share: float) -> PrunePlan:
    """Scores and plan in one go."""
    return make_plan(graph, batch_norm_scale(graph, state), RULE, share, 0.01)


def loaded_state(cfg: str) -> State:
    """The state of a network that has read its weights from a file, as a script does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.weights"
        writer = multiprocessing.get_context("spawn").Process(target=write_random, args=(cfg, path))
        writer.start()
        writer.join()
        if writer.exitcode:
            raise RuntimeError(f"{cfg}: the process that writes random weights failed")
        return Darknet(cfg).load_weights(path).state_dict()


def write_random(cfg: str, path: Path) -> None:
    """Write random weights."""
    model = Darknet(cfg)
    model.load_state(random_state(model))
    model.save_weights(path)


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
