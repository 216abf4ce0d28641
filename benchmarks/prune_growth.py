"""How the steps of a prune grow with depth: graph, plan, cut and gate of 50 to 800 layers.

    python -m benchmarks.prune_growth
    python -m benchmarks.prune_growth --chains csp --layers 100 800 --runs 5

Processor seconds, the median of --runs after one to warm up, on one thread. The exponent is the
slope of a line through the logarithms: 1 is linear.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from benchmarks.peers.prune_once import LEAST_SHARE, RULE
from utils.cfg import Cfg, parse_cfg, plain_text
from utils.command.cli import Parser, positive_int, run_main
from utils.command.table import table
from utils.network.graph import channel_graph
from utils.network.layers import build_layers
from utils.network.weights import State
from utils.pruning.importance.batch_norm import batch_norm_scale
from utils.pruning.plan import make_plan
from utils.pruning.proof.gate import prove
from utils.pruning.surgery import prune

WIDTH = 32
NET = "[net]\nwidth=64\nheight=64\nchannels=3\n\n"
HEAD = (
    "[convolutional]\nfilters=18\nsize=1\nactivation=linear\n\n"
    "[yolo]\nmask=0,1,2\nanchors=1,2,3,4,5,6\nnum=3\nclasses=1\n"
)


def convolution(filters: int, size: int) -> str:
    """One with batch normalisation."""
    return (
        f"[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize={size}\npad=1\n"
        "activation=leaky\n\n"
    )


SUM = "[shortcut]\nfrom=-3\nactivation=linear\n\n"
# Sections that repeat; each reads what the one before it gives, at WIDTH channels.
CHAINS = {
    "plain": [convolution(WIDTH, 3)],
    "residual": [convolution(WIDTH // 2, 1), convolution(WIDTH, 3), SUM],
    "csp": [
        convolution(WIDTH // 2, 1),
        "[route]\nlayers=-2\n\n",
        convolution(WIDTH // 2, 1),
        convolution(WIDTH // 2, 1),
        convolution(WIDTH // 2, 3),
        SUM,
        "[route]\nlayers=-1,-6\n\n",
        convolution(WIDTH, 1),
    ],
}


def chain(kind: str, layers: int) -> Cfg:
    """A detector of about so many layers."""
    repeated = CHAINS[kind]
    text = NET + convolution(WIDTH, 3) + "".join(repeated) * (layers // len(repeated)) + HEAD
    return parse_cfg(text)


def random_state(cfg: Cfg) -> State:
    """Weights with evenly spread gammas."""
    torch.manual_seed(0)
    return {
        f"layers.{layer.index}.{field.name}": torch.rand(field.shape)
        for layer in build_layers(cfg)
        for field in layer.fields()
    }


def steps_s(cfg: Cfg, runs: int) -> dict[str, float]:
    """Processor seconds of each step."""
    state, layers = random_state(cfg), build_layers(cfg)
    graph = channel_graph(layers)
    plan = make_plan(graph, batch_norm_scale(graph, state), RULE, 0.5, LEAST_SHARE)
    cut, small = prune(cfg, state, plan)
    small_cfg = parse_cfg(plain_text(cut))
    steps: dict[str, Callable[[], object]] = {
        "graph": lambda: channel_graph(layers),
        "plan": lambda: make_plan(graph, batch_norm_scale(graph, state), RULE, 0.5, LEAST_SHARE),
        "cut": lambda: prune(cfg, state, plan),
        "gate": lambda: prove(state, plan, small_cfg, small),
    }
    return {name: median_s(step, runs) for name, step in steps.items()}


def median_s(step: Callable[[], object], runs: int) -> float:
    """After one run to warm up."""
    step()
    spent = []
    for _ in range(runs):
        start = time.process_time()
        step()
        spent.append(time.process_time() - start)
    return statistics.median(spent)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = Parser(__doc__)
    parser.add_argument("--chains", nargs="+", choices=list(CHAINS), default=list(CHAINS))
    parser.add_argument("--layers", nargs="+", type=positive_int, default=[50, 100, 200, 400, 800])
    parser.add_argument("--runs", type=positive_int, default=3, help="counted runs of each step")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows = [["chain", "step", *(f"{n} layers, s" for n in args.layers), "exponent"]]
    for kind in args.chains:
        found = [steps_s(chain(kind, layers), args.runs) for layers in args.layers]
        for name in found[0]:
            seconds = [steps[name] for steps in found]
            slope = np.polyfit(np.log(args.layers), np.log(seconds), 1)[0]
            rows.append([kind, name, *(f"{s:.4f}" for s in seconds), f"{slope:.2f}"])
    print(table(rows))


if __name__ == "__main__":
    run_main(main)
