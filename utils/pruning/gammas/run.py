"""The gammas of one or several files of weights: tables, warnings, a picture."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ...command.files import atomic_write
from ...network.darknet import Build, Network
from ...network.graph import ChannelGraph, channel_graph
from ...network.weights import State, require_usable
from ..candidates import Candidates, prunable_channels
from ..importance.batch_norm import batch_norm_scale
from ..importance.sparseness import Sparseness, concerns, drift, measure_sparseness
from ..plan import highest_safe_ratio
from ..strategy import Strategy
from .options import GammaOptions
from .tables import quantile_table, sparseness_table

logger = logging.getLogger(__name__)


def compare_gammas(options: GammaOptions, build: Build) -> list[Sparseness]:
    """What was found for each file of weights; prints it, warns, and draws the picture.

    `build` is `models.Darknet`. Raises UserError for files that do not fit the cfg.
    """
    network: Network = build(options.cfg)
    graph = channel_graph(network.rules)
    states = [_state(network, path) for path in options.weights]
    prunable = prunable_channels(graph, options.strategy)
    found = [measure_sparseness(graph, state, prunable) for state in states]
    names = [Path(path).name for path in options.weights]
    for name, one in zip(names, found, strict=True):
        print(f"{name}: |gamma| of {one.channels} channels that {options.script} may remove")
        print(quantile_table(one))
    safe = [_safe_ratio(graph, state, options.strategy) for state in states]
    print(sparseness_table(names, found, safe))
    _warn(names, found, states)
    _draw(list(zip(names, found, strict=True)), options)
    return found


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


def _warn(names: Sequence[str], found: Sequence[Sparseness], states: Sequence[State]) -> None:
    for name, one in zip(names, found, strict=True):
        for concern in concerns(one):
            logger.warning("%s: %s", name, concern)
    for k in range(1, len(found)):
        for concern in drift(found[k - 1], found[k], (states[k - 1], states[k])):
            logger.warning("%s to %s: %s", names[k - 1], names[k], concern)


def _draw(columns: Sequence[tuple[str, Sparseness]], options: GammaOptions) -> None:
    from ...pictures.charts import save_png  # matplotlib takes a second to load
    from .chart import gamma_chart

    first = Path(options.weights[0])
    beside = first.with_name(f"{first.stem}_gammas.png")
    path = Path(options.picture) if options.picture else beside
    with atomic_write(path) as temporary:
        save_png(gamma_chart(columns), temporary)
    print(f"Wrote {path}")
