"""How long a network's layers take at other widths: a table for goals in milliseconds.

    python latency_table.py --weights best.pt --runtime opencv --output board.json   # on the board
    python compress.py --weights best.pt --data my.data --latency-ms 30 --latency-table board.json
    python slim_prune.py --weights best.pt --data my.data --target-latency-ms 30 \\
        --latency-table board.json

Every distinct layer with a kernel is timed alone, at a few widths of its input and its output, and
the whole network as it is; the sum of the layers is scaled to that. Where --runtime reads no cfg
(all but torch and opencv), PyTorch says how the layers compare, and the runtime how long the whole
takes. The file is JSON and belongs to this cfg at this input size, whatever its weights.

    python latency_table.py --weights best.pt --runtime litert-int8 --probe probe
    python probe/latency_probe.py probe                    # on a device with LiteRT and numpy alone

--probe writes each of these layers as a file of the runtime, which takes minutes, and the script
that times them, which writes probe/table.json: so layers are timed in the runtime itself, and where
darkslim does not run. Any other program may write such a table, too: the words at the top of
utils/pruning/goals/table_file.py say how.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from utils.command.cli import Parser, add_device, add_img_size, img_size, positive_int, run_main
from utils.command.errors import UserError
from utils.command.files import alone
from utils.command.folders import require_free, whole_folder
from utils.command.optional import require
from utils.command.words.next_step import next_steps
from utils.detection.inputs import add_inputs, inputs_of, require_inputs
from utils.detection.options import Inputs
from utils.runtimes.needs import needs_of
from utils.runtimes.options import RUNTIMES

SCRIPT = Path(__file__).resolve().parent / "benchmarks" / "latency_probe.py"
_NO_PROBE = {
    "torch": "PyTorch times layers as they are: --output",
    "mnn-int8": "MNN calibrates on pictures, and layers read more channels than these have: "
    "--output, or --runtime mnn",
}


def main(argv: Sequence[str] | None = None) -> Path:
    """Measure and write; the file. Raises UserError."""
    parser = Parser(__doc__)
    add_inputs(parser)
    add_img_size(parser)
    add = parser.add_argument
    add("--runtime", choices=RUNTIMES, default="torch", help="what runs it, -int8: in 8 bits")
    add("--threads", type=positive_int, metavar="N", help="CPU threads; left out, the runtime's")
    add_device(parser)
    add("--output", metavar="FILE", help="the table, a .json")
    add("--probe", metavar="FOLDER", help="a new folder: files for --runtime, to be timed anywhere")
    add("--force", action="store_true", help="overwrite the file of an earlier run")
    args = parser.parse_args(argv)
    model = inputs_of(args.cfg, args.weights, img_size(args.img_size))
    if (args.output is None) == (args.probe is None):
        raise UserError(
            "give --output FILE to measure here, or --probe FOLDER to measure elsewhere"
        )
    require_inputs(model.cfg, model.weights)
    require(needs_of(args.runtime), f"--runtime {args.runtime}")
    if args.probe:
        return _probe(model, args.runtime, args.probe, args.threads)
    output = Path(args.output)
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


def _probe(model: Inputs, runtime: str, folder: str, threads: int | None) -> Path:
    """Write the files and the script that times them; the folder. Raises UserError."""
    if runtime in _NO_PROBE:
        raise UserError(f"--runtime {runtime} --probe: {_NO_PROBE[runtime]}")
    require_free(folder, "--probe")
    from models import Darknet
    from utils.pruning.goals.probe import write_probe

    with whole_folder(folder, "--probe") as fresh:
        count = write_probe(model, runtime, Darknet, fresh)
        shutil.copyfile(SCRIPT, fresh / SCRIPT.name)
    print(f"Wrote {folder}, {count} files for {runtime}")
    table = Path(folder) / "table.json"
    counted = ["--threads", str(threads)] if threads else []
    print(next_steps({
        "time them, on the device": ["python", Path(folder) / SCRIPT.name, folder, *counted],
        "prune by what it writes": [
            "python", "slim_prune.py", "--weights", model.weights, "--data", "DATA",
            "--target-latency-ms", "MS", "--latency-table", table,
        ],
    }))  # fmt: skip
    return Path(folder)


if __name__ == "__main__":
    run_main(main)
