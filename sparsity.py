"""Is a model sparse enough to be pruned?

    python sparsity.py --weights runs/train/sparse/last.pt
    python sparsity.py --weights runs/train/base/last.pt runs/train/sparse/last.pt

Looks at |gamma| of the channels that a pruning script (--strategy) may remove and says, for each
file of weights:

score     how unequal they are, as their Gini index: 0 when all are equal, 0.7 when 70% are 0 and
          the others equal. Dense models have 0.0 to 0.3, sparse-trained ones 0.6 and more.
free      the share of channels that cost next to nothing: what they hand on beside a constant
          (which pruning folds into the next layer) is below 1% of what their layer's largest does,
          E|activation(z) - activation(beta)| for z ~ N(beta, gamma^2). Give it as the ratio.
safe      the highest ratio at which no layer would lose all its channels.

and warns: of a dense model (but for the first of several), of gammas that shrink together instead
of parting, and (with several files, in the order of training) of gammas that move together or
overshoot 0. A picture shows the histogram of |gamma| and its range in every layer, one column per
file.
"""

from __future__ import annotations

from collections.abc import Sequence

import layer_prune
import prune
import shortcut_prune
import slim_prune
from utils.command.cli import Parser, run_main
from utils.command.files import require_file
from utils.detection.inputs import inputs_of, require_inputs
from utils.pruning.strategy import Strategy

STRATEGIES: dict[str, Strategy] = {
    "prune": prune.STRATEGY,
    "shortcut_prune": shortcut_prune.STRATEGY,
    "slim_prune": slim_prune.STRATEGY,
    "layer_prune": layer_prune.STRATEGY,
}


def build_parser() -> Parser:
    """Every flag with its default."""
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--cfg", help="structure of the model; left out, the one that the first .pt holds")
    add("--weights", required=True, nargs="+", help=".weights or .pt files of that structure")
    add(
        "--strategy",
        choices=tuple(STRATEGIES),
        default="slim_prune",
        help="the script whose channels are meant",
    )
    add(
        "--output",
        default="",
        help="the picture, a PNG; left out, LAST_gammas.png beside the last weights",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> object:
    """Describe the weights; returns the `Sparseness` of each file."""
    args = build_parser().parse_args(argv)
    inputs = inputs_of(args.cfg, args.weights[0])
    require_inputs(inputs.cfg)
    for path in args.weights:
        require_file(path, "the weights")
    from models import Darknet
    from utils.describe.gammas import describe_sparseness

    strategy = STRATEGIES[args.strategy]
    return describe_sparseness(
        inputs.cfg, args.weights, args.strategy, strategy, args.output, Darknet
    )


if __name__ == "__main__":
    run_main(main)
