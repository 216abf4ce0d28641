"""How long a command takes to say something: its help, a mistake, what a cfg holds. Against a base.

    git worktree add ../base 5c8975c
    python -m benchmarks.startup --base ../base
    python -m benchmarks.startup --base ../base --only prune.py --rounds 9

Each case is the whole command, from the shell and back: wall time with the same interpreter, byte
code made beforehand, files in the system's cache. One round runs every case on both sides, in turns
(base first, then base last); the first round warms up and does not count. The ratio is taken
within a round. Both sides must end with the same exit code.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from utils.command.cli import USER_ERROR_STATUS, Parser, positive_int, run_main
from utils.command.errors import UserError

HERE = Path(__file__).resolve().parent.parent

# What each command needs, with {names} of files that it reads: see `INPUTS`.
COMMANDS: Mapping[str, str] = {
    "train.py": "--cfg {cfg} --weights {weights} --data {data}",
    "val.py": "--cfg {cfg} --weights {weights} --data {data}",
    "detect.py": "--cfg {cfg} --weights {weights} --source {image}",
    "export.py": "--cfg {cfg} --weights {weights}",
    "compare.py": "--models {cfg},{weights} --runtimes torch",
    "demo.py": "",
    "cfginfo.py": "--cfg {cfg}",
    "make_cfg.py": "--cfg {cfg} --data {data} --output new.cfg",
    "translate.py": "--cfg {cfg} --weights {weights} --output new.cfg",
    "compress.py": "--cfg {cfg} --weights {weights} --data {data} --keep-params 0.5",
    "sensitivity.py": "--cfg {cfg} --weights {weights} --data {data}",
    "search.py": "--cfg {cfg} --weights {weights} --data {data} --target-params 0.5",
    "sparsity.py": "--cfg {cfg} --weights {weights}",
    "latency_table.py": "--cfg {cfg} --weights {weights} --output new.json",
    "report.py": "--models {cfg},{weights} {cfg},{weights}",
    "prune.py": "--cfg {cfg} --weights {weights}",
    "shortcut_prune.py": "--cfg {cfg} --weights {weights}",
    "slim_prune.py": "--cfg {cfg} --weights {weights}",
    "layer_prune.py": "--cfg {cfg} --weights {weights} --shortcuts 1",
    "layer_channel_prune.py": "--cfg {cfg} --weights {weights} --shortcuts 1",
    "mask_prune.py": "--cfg {cfg} --weights {weights}",
    "iterative_prune.py": "--cfg {cfg} --weights {weights} --data {data}",
    "data/convert.py": "voc {folder} new",
    "data/shapes.py": "--output new",
}

# Files that are there and, but for `broken.cfg`, right as far as their first look goes.
INPUTS = {
    "cfg": "good.cfg", "weights": "good.weights", "data": "good.data", "image": "good.jpg",
    "folder": "good",
}  # fmt: skip
MISSING = "gone"
TIMED = {"--help", "unknown flag", "missing cfg", "missing folder", "broken cfg"}
CFG = "[net]\nwidth=32\nheight=32\nchannels=3\n\n[convolutional]\nfilters=8\nsize=1\n"
BROKEN = CFG + "\n[convolutional\nfilters=8\n"


@dataclass(frozen=True)
class Case:
    """One command line and the exit code that it must end with."""

    script: str
    name: str
    argv: tuple[str, ...]
    code: int


@dataclass(frozen=True)
class Timing:
    """Seconds of each counted round, on either side."""

    case: Case
    base_s: tuple[float, ...]
    here_s: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """Here over base, round by round."""
        return [b / a for a, b in zip(self.base_s, self.here_s, strict=True)]


def first_words(script: str) -> Iterator[Case]:
    """The cases in which a command has nothing to compute; see `write_inputs` for their files."""
    needed = COMMANDS[script]

    def case(name: str, code: int, more: Sequence[str] = (), **files: str) -> Case:
        return Case(script, name, (*needed.format_map({**INPUTS, **files}).split(), *more), code)

    yield Case(script, "--help", ("--help",), 0)
    yield case("unknown flag", USER_ERROR_STATUS, ["--no-such-flag"])
    for kind, file in INPUTS.items():
        if f"{{{kind}}}" in needed:
            gone = {kind: MISSING + Path(file).suffix}
            yield case(f"missing {kind}", USER_ERROR_STATUS, **gone)
    if "{cfg}" in needed:
        yield case("broken cfg", USER_ERROR_STATUS, cfg="broken.cfg")


def write_inputs(folder: Path) -> None:
    """The files that the command lines of `first_words` name."""
    (folder / "good").mkdir()
    (folder / "good.cfg").write_text(CFG)
    (folder / "broken.cfg").write_text(BROKEN)
    (folder / "good.data").write_text("classes=1\ntrain=list.txt\nvalid=list.txt\n")
    for name in ("good.weights", "good.jpg"):
        (folder / name).write_bytes(b"")


def whole_commands(weights: Path) -> tuple[Case, ...]:
    """Commands that have work to do: the libraries that they need count, the work hardly."""
    tiny = ("--cfg", str(HERE / "cfg/yolov3-tiny.cfg"), "--weights", str(weights), "--dry-run")
    return (
        Case("cfginfo.py", "yolov4", ("--cfg", str(HERE / "cfg/yolov4.cfg")), 0),
        Case("slim_prune.py", "yolov3-tiny, --dry-run", tiny, 0),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = Parser(__doc__)
    parser.add_argument("--base", required=True, metavar="FOLDER", help="checkout to compare with")
    parser.add_argument("--only", nargs="+", default=[], metavar="SCRIPT", help="these commands")
    parser.add_argument("--rounds", type=positive_int, default=5, help="rounds after a first")
    args = parser.parse_args(argv)
    base = Path(args.base).resolve()
    if not (base / "models.py").is_file():
        raise UserError(f"--base {args.base}: is no checkout of this repository")
    unknown = sorted(set(args.only) - set(COMMANDS))
    if unknown:
        raise UserError(f"--only {' '.join(unknown)}: not among {', '.join(COMMANDS)}")
    for side in (base, HERE):
        make_byte_code(side)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder)
        cases = [
            case
            for script in COMMANDS
            for case in first_words(script)
            if case.name
            in ("--help", "unknown flag", "missing cfg", "missing folder", "broken cfg")
        ]
        cases += whole_commands(random_weights(folder))
        wanted = [case for case in cases if not args.only or case.script in args.only]
        timings = measure(wanted, base, folder, args.rounds)
    print("\n".join([machine(), "", *markdown(timings)]))


def make_byte_code(checkout: Path) -> None:
    """Compile all modules of a checkout: the first to import one would pay for it."""
    command = [sys.executable, "-m", "compileall", "-q", "utils", "data", *_scripts(checkout)]
    subprocess.run(command, cwd=checkout, check=True)


def _scripts(checkout: Path) -> list[str]:
    return sorted(path.name for path in checkout.glob("*.py"))


def random_weights(folder: Path) -> Path:
    """Weights of yolov3-tiny with evenly spread gammas, made by another process."""
    path = folder / "tiny.weights"
    code = (
        "import torch, sys; from models import Darknet\n"
        "torch.manual_seed(0); model = Darknet(sys.argv[1])\n"
        "for key, tensor in model.state_dict().items():\n"
        "    if key.endswith('bn.weight'): tensor.uniform_(0, 1)\n"
        "model.save_weights(sys.argv[2])\n"
    )
    command = [sys.executable, "-c", code, str(HERE / "cfg/yolov3-tiny.cfg"), str(path)]
    subprocess.run(command, cwd=HERE, check=True)
    return path


def measure(cases: Sequence[Case], base: Path, folder: Path, rounds: int) -> list[Timing]:
    """Run every case in every round on both sides; `folder` is the working directory."""
    seconds: dict[Case, dict[Path, list[float]]] = {
        case: {base: [], HERE: []} for case in dict.fromkeys(cases)
    }
    for number in range(rounds + 1):
        order = (base, HERE) if number % 2 else (HERE, base)
        for case, by_side in seconds.items():
            for side in order:
                by_side[side].append(run_s(case, side, folder))
        print(f"round {number} of {rounds} done", file=sys.stderr)
    return [
        Timing(case, tuple(by_side[base][1:]), tuple(by_side[HERE][1:]))
        for case, by_side in seconds.items()
    ]


def run_s(case: Case, checkout: Path, folder: Path) -> float:
    """Seconds of one run. Raises RuntimeError when it ends with another exit code."""
    command = [sys.executable, str(checkout / case.script), *case.argv]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    if done.returncode != case.code:
        raise RuntimeError(f"{' '.join(command)}: ended with {done.returncode}\n{done.stderr}")
    return seconds


def markdown(timings: Sequence[Timing]) -> Iterator[str]:
    """The table, as in docs/results.md: medians, with the smallest and the largest."""
    yield "| command | case | base, s | here, s | here / base |"
    yield "|---|---|---|---|---|"
    for timing in timings:
        cells = (
            timing.case.script,
            timing.case.name,
            spread(timing.base_s),
            spread(timing.here_s),
            spread(timing.ratios),
        )
        yield f"| {' | '.join(cells)} |"


def spread(values: Sequence[float]) -> str:
    """`0.123 (0.120..0.131)`: the median, with the smallest and the largest."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.3f} ({low:.3f}..{high:.3f})"


def machine() -> str:
    """What it ran on."""
    names = [
        line.partition(":")[2].strip()
        for line in _cpu_info().splitlines()
        if line.startswith("model name")
    ]
    processor = names[0] if names else platform.processor() or platform.machine()
    return (
        f"{os.cpu_count()} x {processor}, Python {platform.python_version()}, "
        f"torch {version('torch')}"
    )


def _cpu_info() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


if __name__ == "__main__":
    run_main(main)
