"""The command line of sparsity.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...command.cli import Parser
from ...command.files import require_file
from ...detection.inputs import require_inputs
from ..strategy import Strategy
from .options import GammaOptions


def read_flags(
    strategies: Mapping[str, Strategy], doc: str | None, argv: Sequence[str] | None = None
) -> GammaOptions:
    """What the flags ask for, after a look at the files that they name; `strategies` by script.

    argv None: the flags of this process. Raises UserError.
    """
    parser = Parser(doc)
    add = parser.add_argument
    add("--cfg", required=True, help="structure of the model")
    add("--weights", required=True, nargs="+", help=".weights or .pt files of that structure")
    add(
        "--strategy",
        choices=tuple(strategies),
        default="slim_prune",
        help="the script whose channels are meant",
    )
    add("--output", help="the picture, a PNG; left out, FIRST_gammas.png beside the first weights")
    args = parser.parse_args(argv)
    require_inputs(args.cfg)
    for path in args.weights:
        require_file(path, "the weights")
    strategy = strategies[args.strategy]
    return GammaOptions(args.cfg, tuple(args.weights), args.strategy, strategy, args.output or "")
