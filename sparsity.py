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

from collections.abc import Mapping, Sequence

import layer_prune
import prune
import shortcut_prune
import slim_prune
from utils.command.cli import run_main
from utils.pruning.gammas.flags import read_flags
from utils.pruning.strategy import Strategy

STRATEGIES: Mapping[str, Strategy] = {
    "prune": prune.STRATEGY,
    "shortcut_prune": shortcut_prune.STRATEGY,
    "slim_prune": slim_prune.STRATEGY,
    "layer_prune": layer_prune.STRATEGY,
}


def main(argv: Sequence[str] | None = None) -> object:
    """Look at the gammas; returns what was found for each file of weights. Raises UserError."""
    options = read_flags(STRATEGIES, __doc__, argv)
    from models import Darknet  # heavy, and needed from here on
    from utils.pruning.gammas.run import compare_gammas

    return compare_gammas(options, Darknet)


if __name__ == "__main__":
    run_main(main)
