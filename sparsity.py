"""Is a model sparse enough to be pruned?

    python sparsity.py --cfg cfg/my.cfg --weights weights/last.pt
    python sparsity.py --cfg cfg/my.cfg --weights base.pt sparse_50.pt sparse_100.pt --output g.png

Looks at |gamma| of the channels that a pruning script (--strategy) may remove and says, for each
file of weights:

score     how unequal they are, as their Gini index: 0 when all are equal, 0.7 when 70% are 0 and
          the others equal. Dense models have 0.0 to 0.3, sparse-trained ones 0.6 and more.
free      the share of channels that cost next to nothing: what they hand on beside a constant
          (which pruning folds into the next layer) is below 1% of what their layer's largest does,
          E|activation(z) - activation(beta)| for z ~ N(beta, gamma^2). Give it as the ratio.
safe      the highest ratio at which no layer would lose all its channels.

and warns: of a dense model, of gammas that shrink together instead of parting, and (with several
files, in the order of training) of gammas that move together or overshoot 0. A picture shows the
histogram of |gamma| and its range in every layer, one column per file.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from terminaltables import AsciiTable

import layer_prune
import prune
import shortcut_prune
import slim_prune
from models import Darknet
from utils.command.cli import Parser, run_main
from utils.command.files import atomic_write
from utils.network.graph import ChannelGraph, channel_graph
from utils.network.weights import State, require_usable
from utils.pruning.candidates import Candidates, prunable_channels
from utils.pruning.importance.batch_norm import batch_norm_scale
from utils.pruning.importance.sparseness import (
    QUANTILES,
    Sparseness,
    concerns,
    drift,
    measure_sparseness,
)
from utils.pruning.plan import highest_safe_ratio
from utils.pruning.strategy import Strategy

STRATEGIES: dict[str, Strategy] = {
    "prune": prune.STRATEGY,
    "shortcut_prune": shortcut_prune.STRATEGY,
    "slim_prune": slim_prune.STRATEGY,
    "layer_prune": layer_prune.STRATEGY,
}

logger = logging.getLogger("sparsity")


def main(argv: Sequence[str] | None = None) -> list[Sparseness]:
    """Run the command; returns what was found for each file."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--cfg", required=True, help="structure of the model")
    add("--weights", required=True, nargs="+", help=".weights or .pt files of that structure")
    add(
        "--strategy",
        choices=tuple(STRATEGIES),
        default="slim_prune",
        help="the script whose channels are meant",
    )
    add("--output", help="the picture, a PNG; left out, FIRST_gammas.png beside the first weights")
    args = parser.parse_args(argv)
    model = Darknet(args.cfg)
    graph = channel_graph(model.rules)
    strategy = STRATEGIES[args.strategy]
    states = [_state(model, path) for path in args.weights]
    prunable = prunable_channels(graph, strategy)
    found = [measure_sparseness(graph, state, prunable) for state in states]
    names = [Path(path).name for path in args.weights]
    for name, one in zip(names, found, strict=True):
        print(f"{name}: |gamma| of {one.channels} channels that {args.strategy} may remove")
        print(layer_table(one))
    safe = [_safe_ratio(graph, state, strategy) for state in states]
    print(summary_table(names, found, safe))
    _warn(names, found, states)
    _draw(list(zip(names, found, strict=True)), args)
    return found


def layer_table(found: Sparseness) -> str:
    """Quantiles of |gamma| and share of free channels, layer by layer."""
    heads = ["min", *(f"{share:.0%}" for share in QUANTILES[1:-1]), "max"]
    rows = [["layer", "channels", *heads, "free"]]
    for layer in found.layers:
        quantiles = [f"{value:.4f}" for value in layer.quantiles]
        rows.append([str(layer.index), str(layer.channels), *quantiles, f"{layer.free:.1%}"])
    return _table(rows)


def summary_table(
    names: Sequence[str], found: Sequence[Sparseness], safe: Sequence[float | None]
) -> str:
    """One row per file of weights."""
    rows = [["weights", "score", "free", "safe", "median", "mean", "in use"]]
    for name, one, ratio in zip(names, found, safe, strict=True):
        figures = [f"{value:.4f}" for value in (one.median, one.mean, one.in_use)]
        shown = "-" if ratio is None else f"{ratio:.4f}"
        rows.append([name, f"{one.score:.3f}", f"{one.free:.4f}", shown, *figures])
    return _table(rows)


def _table(rows: list[list[str]]) -> str:
    table = AsciiTable(rows)
    table.justify_columns = dict.fromkeys(range(1, len(rows[0])), "right")
    return str(table.table)


def _state(model: Darknet, path: str) -> State:
    model.load_weights(path)
    state = {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}
    require_usable(state, path)
    return state


def _safe_ratio(graph: ChannelGraph, state: State, strategy: Strategy) -> float | None:
    """None where the script removes no single channels."""
    if strategy.channels is None:
        return None
    candidates = Candidates(prunable_channels(graph, strategy), {})
    return highest_safe_ratio(batch_norm_scale(graph, state), candidates)


def _warn(names: Sequence[str], found: Sequence[Sparseness], states: Sequence[State]) -> None:
    for name, one in zip(names, found, strict=True):
        for concern in concerns(one):
            logger.warning("%s: %s", name, concern)
    for k in range(1, len(found)):
        for concern in drift(found[k - 1], found[k], (states[k - 1], states[k])):
            logger.warning("%s to %s: %s", names[k - 1], names[k], concern)


def _draw(columns: Sequence[tuple[str, Sparseness]], args: argparse.Namespace) -> None:
    from utils.pictures.charts import save_png  # matplotlib takes a second to load
    from utils.pruning.report.gamma_chart import gamma_chart

    first = Path(args.weights[0])
    path = Path(args.output) if args.output else first.with_name(f"{first.stem}_gammas.png")
    with atomic_write(path) as temporary:
        save_png(gamma_chart(columns), temporary)
    print(f"Wrote {path}")


if __name__ == "__main__":
    run_main(main)
