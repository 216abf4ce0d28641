"""Show what a cfg describes: its layers and their cost, its heads, and what pruning may remove.

    python cfginfo.py --cfg cfg/yolov4.cfg
    python cfginfo.py --cfg cfg/my.cfg --weights weights/best.pt --img_size 320
    python cfginfo.py --cfg cfg/my.cfg --graph my.svg

Prints a table of the layers as Darknet does at start-up, the totals, each head's grid, anchors and
receptive field, the channels that are tied to each other and through which layer, those that must
stay and why, and what each pruning script may remove. --weights says whether a file fits and how
small its gammas are. --graph draws the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import layer_channel_prune
import layer_prune
import prune
import shortcut_prune
import slim_prune
from utils.cfg import load_cfg
from utils.command.cli import Parser, add_img_size, img_size, positive_int, run_main
from utils.describe.layers import (
    block_lines,
    group_lines,
    head_table,
    layer_table,
    script_table,
    staying_lines,
    totals,
)
from utils.describe.weights import gamma_table, read_weights
from utils.network.graph import ChannelGraph, channel_graph
from utils.network.layers import Head, build_layers
from utils.network.layers.heads import require_equal_classes
from utils.pictures.diagram import draw_network, save_svg

STRATEGIES = {
    "prune.py": prune.STRATEGY,
    "shortcut_prune.py": shortcut_prune.STRATEGY,
    "slim_prune.py": slim_prune.STRATEGY,
    "layer_prune.py": layer_prune.STRATEGY,
    "layer_channel_prune.py": layer_channel_prune.STRATEGY,
}


def build_parser() -> Parser:
    """The command's flags."""
    parser = Parser(__doc__)
    parser.add_argument("--cfg", required=True, help="the network")
    parser.add_argument("--weights", help=".weights or .pt to check against it")
    parser.add_argument(
        "--cutoff", type=positive_int, metavar="N", help="check the layers before N (a backbone)"
    )
    parser.add_argument("--graph", metavar="FILE.svg", help="draw the network into this file")
    add_img_size(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Print the report; write the drawing."""
    args = build_parser().parse_args(argv)
    layers = build_layers(load_cfg(args.cfg), img_size(args.img_size))
    require_equal_classes([layer for layer in layers if isinstance(layer, Head)])
    graph = channel_graph(layers)
    print_structure(graph)
    if args.graph:
        save_svg(draw_network(graph.layers, Path(args.cfg).name), args.graph)
        print(f"\nWrote {args.graph}")
    if args.weights:
        print_weights(graph, args.weights, args.cutoff)


def print_structure(graph: ChannelGraph) -> None:
    """All that the cfg alone says."""
    print(layer_table(graph))
    print(f"\n{totals(graph.layers)}\n\n{head_table(graph.layers)}")
    print_lines("Channels that stay or go together:", group_lines(graph))
    print_lines("Channels that must stay:", staying_lines(graph))
    print_lines("Residual blocks:", block_lines(graph))
    print(f"\n{script_table(graph, STRATEGIES)}")


def print_weights(graph: ChannelGraph, path: str, cutoff: int | None) -> None:
    """What the weights say; raises UserError when they do not fit."""
    state, fit = read_weights(path, graph.layers, cutoff)
    print(f"\n{path}: {fit}\n\n|gamma| of the batch normalisations:\n{gamma_table(graph, state)}")


def print_lines(title: str, lines: Iterable[str]) -> None:
    """A title and lines below it, or nothing."""
    found = list(lines)
    if found:
        print("\n".join(["", title, *(f"  {line}" for line in found)]))


if __name__ == "__main__":
    run_main(main)
