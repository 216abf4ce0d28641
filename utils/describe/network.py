"""What cfginfo.py prints of a network, and what it draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..cfg import Cfg
from ..network.graph import ChannelGraph, channel_graph
from ..network.layers import Head, build_layers
from ..network.layers.heads import require_heads_fit
from ..pictures.diagram import draw_network, save_svg
from ..pruning.strategy import Strategy
from ..runtimes.targets.names import Target
from .layers import (
    block_lines,
    group_lines,
    head_table,
    layer_table,
    script_table,
    staying_lines,
    totals,
)
from .target import target_lines


def describe_network(
    cfg: Cfg,
    strategies: Mapping[str, Strategy],
    img_hw: tuple[int, int] | None = None,
    picture: str = "",
) -> ChannelGraph:
    """Print what the cfg alone says, and draw it into `picture`, an SVG ("": into none).

    `strategies` are the pruning scripts' by name. `img_hw`: (height, width) of the input in pixels,
    None for the cfg's own. Returns the network as it was understood. No tensor is needed, so torch
    is not loaded. Raises CfgError for a cfg that is no network, UserError for another picture.
    """
    layers = build_layers(cfg, img_hw)
    require_heads_fit([layer for layer in layers if isinstance(layer, Head)])
    graph = channel_graph(layers)
    _print_structure(graph, strategies)
    if picture:
        save_svg(draw_network(graph.layers, Path(cfg.source).name), picture)
        print(f"\nWrote {picture}")
    return graph


def describe_weights(graph: ChannelGraph, path: str, cutoff: int | None = None) -> None:
    """Print whether a file of weights fits the network, and how small its gammas are.

    `cutoff`: only the layers before this one. Raises UserError when the file does not fit.
    """
    from .weights import gamma_table, read_weights  # tensors: torch loads now

    state, fit = read_weights(path, graph.layers, cutoff)
    print(f"\n{path}: {fit}\n\n|gamma| of the batch normalisations:\n{gamma_table(graph, state)}")


def print_target(graph: ChannelGraph, cfg: Cfg, target: Target) -> None:
    """Print what a target makes of the network."""
    _print_lines(f"For {target}:", target_lines(cfg, graph.layers, target))


def print_cfg_for(cfg: Cfg, target: Target) -> None:
    """The same of a cfg alone."""
    print_target(channel_graph(build_layers(cfg)), cfg, target)


def _print_structure(graph: ChannelGraph, strategies: Mapping[str, Strategy]) -> None:
    print(layer_table(graph))
    print(f"\n{totals(graph.layers)}\n\n{head_table(graph.layers)}")
    _print_lines("Channels that stay or go together:", group_lines(graph))
    _print_lines("Channels that must stay:", staying_lines(graph))
    _print_lines("Residual blocks:", block_lines(graph))
    print(f"\n{script_table(graph, strategies)}")


def _print_lines(title: str, lines: Iterable[str]) -> None:
    """A title and lines below it, or nothing."""
    found = list(lines)
    if found:
        print("\n".join(["", title, *(f"  {line}" for line in found)]))
