"""What sparsity.py prints of several files of weights: how sparse each is, and what follows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..command.files import alone, atomic_write
from ..command.table import table
from ..command.words.short_names import short_names
from ..network.cfg_of import read_cfg
from ..network.darknet import Build, Network
from ..network.graph import ChannelGraph, channel_graph
from ..network.weights import State, require_usable
from ..pruning.candidates import Candidates, prunable_channels
from ..pruning.importance.batch_norm import batch_norm_scale
from ..pruning.importance.sparseness import (
    QUANTILES,
    Sparseness,
    concerns,
    drift,
    measure_sparseness,
)
from ..pruning.plan import highest_safe_ratio
from ..pruning.strategy import Strategy

logger = logging.getLogger("sparsity")


@dataclass(frozen=True)
class _File:
    """One file of weights: its name, its tensors, how sparse they are."""

    name: str
    state: State
    found: Sparseness


def describe_sparseness(
    cfg: str, weights: Sequence[str], script: str, strategy: Strategy, picture: str, build: Build
) -> list[Sparseness]:
    """Print tables and warnings of files of weights of one cfg, and draw their gammas.

    `strategy` is that of `script`, whose channels are meant. `picture` is a PNG; "": beside the
    last weights. Returns what was found for each file. Raises UserError.
    """
    last = Path(weights[-1])
    path = Path(picture) if picture else last.with_name(f"{last.stem}_gammas.png")
    with alone(path) if path.parent.is_dir() else nullcontext():  # that is said as it is drawn
        files = _measured(cfg, weights, script, strategy, build)
        _draw(files, path)
    return [file.found for file in files]


def _measured(
    cfg: str, weights: Sequence[str], script: str, strategy: Strategy, build: Build
) -> list[_File]:
    """Measure and print."""
    network = build(read_cfg(cfg))
    graph = channel_graph(network.rules)
    prunable = prunable_channels(graph, strategy)
    states = [_state(network, path) for path in weights]
    files = [
        _File(name, state, measure_sparseness(graph, state, prunable))
        for name, state in zip(short_names(weights), states, strict=True)
    ]
    for file in files:
        channels = file.found.channels
        print(f"{file.name}: |gamma| of {channels} channels that {script} may remove")
        print(gamma_quantiles(file.found))
    safe = [_safe_ratio(graph, file.state, strategy) for file in files]
    print(summary_table([file.name for file in files], [file.found for file in files], safe))
    _warn(files)
    print(conclusion(files[-1].name, files[-1].found))
    return files


def gamma_quantiles(found: Sparseness) -> str:
    """Quantiles of |gamma| and share of free channels, layer by layer."""
    heads = ["min", *(f"{share:.0%}" for share in QUANTILES[1:-1]), "max"]
    rows = [["layer", "channels", *heads, "free"]]
    for layer in found.layers:
        quantiles = [f"{value:.4f}" for value in layer.quantiles]
        rows.append([str(layer.index), str(layer.channels), *quantiles, f"{layer.free:.1%}"])
    return table(rows, right=range(1, len(rows[0])))


def summary_table(
    names: Sequence[str], found: Sequence[Sparseness], safe: Sequence[float | None]
) -> str:
    """One row per file of weights."""
    rows = [["weights", "score", "free", "safe", "median", "mean", "in use"]]
    for name, one, ratio in zip(names, found, safe, strict=True):
        figures = [f"{value:.4f}" for value in (one.median, one.mean, one.in_use)]
        shown = "-" if ratio is None else f"{ratio:.4f}"
        rows.append([name, f"{one.score:.3f}", f"{one.free:.4f}", shown, *figures])
    return table(rows, right=range(1, len(rows[0])))


def _state(network: Network, path: str) -> State:
    network.load_weights(path)
    state = {key: tensor.detach().clone() for key, tensor in network.state_dict().items()}
    require_usable(state, path)
    return state


def _safe_ratio(graph: ChannelGraph, state: State, strategy: Strategy) -> float | None:
    """None where the script removes no single channels."""
    if strategy.channels is None:
        return None
    candidates = Candidates(prunable_channels(graph, strategy), {})
    return highest_safe_ratio(batch_norm_scale(graph, state), candidates)


def conclusion(name: str, found: Sparseness) -> str:
    """One sentence: whether a model is sparse enough, and how much can go."""
    worries = concerns(found)
    if worries:
        return f"{name}: not sparse enough to be cut for nothing (see the warning)"
    return f"{name}: sparse enough, about {found.free:.0%} of its channels can go for nothing"


def _warn(files: Sequence[_File]) -> None:
    # The first of several is what sparse training began with: it is meant to be dense.
    for file in files[1:] or files:
        for concern in concerns(file.found):
            logger.warning("%s: %s", file.name, concern)
    for before, after in pairwise(files):
        for concern in drift(before.found, after.found, (before.state, after.state)):
            logger.warning("%s to %s: %s", before.name, after.name, concern)


def _draw(files: Sequence[_File], path: Path) -> None:
    # matplotlib takes a second to load
    from ..pictures.charts import save_png
    from ..pruning.report.gamma_chart import gamma_chart

    with atomic_write(path) as temporary:
        save_png(gamma_chart([(file.name, file.found) for file in files]), temporary)
    print(f"Wrote {path}")
