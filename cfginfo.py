"""Show what a cfg describes: its layers and their cost, its heads, and what pruning may remove.

    python cfginfo.py --cfg cfg/yolov4.cfg
    python cfginfo.py --cfg cfg/my.cfg --weights weights/best.pt --img-size 320
    python cfginfo.py --cfg cfg/my.cfg --graph my.svg
    python cfginfo.py --cfg cfg/my.cfg --for rknn

Prints a table of the layers as Darknet does at start-up, the totals, each head's grid, anchors and
receptive field, the channels that are tied to each other and through which layer, those that must
stay and why, and what each pruning script may remove. --weights says whether a file fits and how
small its gammas are. --graph draws the network. --for TARGET says how it gets there, which
widths are fast, and for rknn which sections its load_darknet would compute otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import layer_channel_prune
import layer_prune
import prune
import shortcut_prune
import slim_prune
from utils.command.cli import Parser, add_img_size, img_size, positive_int, run_main
from utils.detection.inputs import require_inputs
from utils.runtimes.targets.names import TARGETS

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
    parser.add_argument("--for", dest="target", choices=TARGETS, help="what is to run it")
    add_img_size(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Print the report; write the drawing."""
    args = build_parser().parse_args(argv)
    img_hw = img_size(args.img_size)
    cfg = require_inputs(args.cfg, args.weights)
    from utils.describe.network import describe_network, describe_weights, print_target

    graph = describe_network(cfg, STRATEGIES, img_hw, args.graph or "")
    if args.target:
        print_target(graph, cfg, args.target)
    if args.weights:
        describe_weights(graph, args.weights, args.cutoff)


if __name__ == "__main__":
    run_main(main)
