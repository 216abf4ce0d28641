"""How long a network's layers take at other widths: a table for goals in milliseconds.

    python latency_table.py --weights best.pt --runtime opencv --output board.json   # on the board
    python compress.py --weights best.pt --data my.data --latency-ms 30 --latency-table board.json
    python slim_prune.py --weights best.pt --data my.data --target-latency-ms 30 \\
        --latency-table board.json

Every distinct layer with a kernel is timed alone, at a few widths of its input and its output, and
the whole network as it is; the sum of the layers is scaled to that. Where --runtime reads no cfg
(all but torch and opencv), PyTorch says how the layers compare, and the runtime how long the whole
takes. The file is JSON and belongs to this cfg at this input size, whatever its weights. For a
device on which this does not run, any program may write one: the words at the top of
utils/pruning/goals/table_file.py say how.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from utils.command.cli import Parser, add_device, add_img_size, img_size, positive_int, run_main
from utils.command.errors import UserError
from utils.command.files import alone
from utils.command.optional import require
from utils.detection.inputs import add_inputs, inputs_of, require_inputs
from utils.runtimes.needs import needs_of
from utils.runtimes.options import BACKENDS


def main(argv: Sequence[str] | None = None) -> Path:
    """Measure and write; the file. Raises UserError."""
    parser = Parser(__doc__)
    add_inputs(parser)
    add_img_size(parser)
    add = parser.add_argument
    add("--runtime", choices=BACKENDS, default="torch", help="what runs the network")
    add("--threads", type=positive_int, metavar="N", help="CPU threads; left out, the runtime's")
    add_device(parser)
    add("--output", required=True, metavar="FILE", help="the table, a .json")
    add("--force", action="store_true", help="overwrite the file of an earlier run")
    args = parser.parse_args(argv)
    model = inputs_of(args.cfg, args.weights, img_size(args.img_size))
    output = Path(args.output)
    require_inputs(model.cfg, model.weights)
    require(needs_of(args.runtime), f"--runtime {args.runtime}")
    if output.exists() and not args.force:
        raise UserError(f"--output {output}: is there already; --force overwrites it")
    from models import Darknet  # from here on there is work to do
    from utils.pruning.goals.measured_table import measure_table_file
    from utils.pruning.goals.table_file import write_table_file

    with alone(output):
        table = measure_table_file(model, args.runtime, Darknet, args.device, args.threads)
        write_table_file(table, output)
    print(f"{args.runtime}: {table.whole_ms['p10']:.3f} ms as it is (median "
          f"{table.whole_ms['median']:.3f})\nWrote {output}")  # fmt: skip
    return output


if __name__ == "__main__":
    run_main(main)
