"""How much memory a command takes at most, beside the weights that it reads. Against a base.

    git worktree add ../base 5c8975c
    python -m benchmarks.memory --base ../base
    python -m benchmarks.memory --base ../base --only slim_prune.py --networks yolov3-tiny

Each case is a whole command in a process of its own: its largest resident size as the system
counts it (`ru_maxrss`). Random weights; networks that are not in cfg/ are yolov4-csp with more
filters, as large as what they are named after. What the libraries take is measured by the same
command on a network of one layer. Next to last: (peak - libraries) / size of the weights, which is
to stay below 2.2; last: the peak against the base's. Both sides must end well.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.startup import HERE, machine, make_byte_code
from utils.cfg import format_cfg, load_cfg, replace_layers, set_option
from utils.command.cli import Parser, run_main
from utils.command.errors import UserError
from utils.network.cost import count_parameters
from utils.network.layers import build_layers

# Millions of parameters; 0: the cfg of this name is in cfg/.
NETWORKS = {
    "yolov3-tiny": 0, "yolov4-tiny": 0, "yolov8s": 0, "yolov4": 0, "yolov8x": 0,
    "yolov7x-size": 71.3, "yolov4-p7-size": 287.0,
}  # fmt: skip
COMMANDS = {
    "cfginfo.py": "--cfg {cfg} --weights {weights}",
    "translate.py": "--cfg {cfg} --weights {weights} --output new.cfg",
    "slim_prune.py": "--cfg {cfg} --weights {weights} --global_percent 0.5",
}
MOST = 2.2
_ONE_LAYER = (
    "[net]\nwidth=32\nheight=32\nchannels=3\n\n[convolutional]\nbatch_normalize=1\nfilters=8\nsize=1\n"
    "\n[convolutional]\nfilters=18\nsize=1\nactivation=linear\n\n[yolo]\nmask=0,1,2\n"
    "anchors=10,14, 23,27, 37,58\nclasses=1\nnum=3\n"
)
_MIB = 1 << 20


@dataclass(frozen=True)
class Peak:
    """Of one command on one network, on either side."""

    script: str
    network: str
    weights_bytes: int
    base_bytes: int
    here_bytes: int
    libraries_bytes: int

    @property
    def share(self) -> float:
        """What is taken beside the libraries, as a multiple of the weights."""
        return (self.here_bytes - self.libraries_bytes) / self.weights_bytes

    @property
    def holds(self) -> bool:
        """Whether it is below the limit, and no worse than the base but for a hundredth."""
        return self.share <= MOST and self.here_bytes <= 1.01 * self.base_bytes


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 where a row does not hold."""
    parser = Parser(__doc__)
    parser.add_argument("--base", required=True, metavar="FOLDER", help="checkout to compare with")
    parser.add_argument("--only", nargs="+", choices=tuple(COMMANDS), help="these commands")
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), help="these networks")
    args = parser.parse_args(argv)
    base = Path(args.base).resolve()
    if not (base / "models.py").is_file():
        raise UserError(f"--base {args.base}: is no checkout of this repository")
    for side in (base, HERE):
        make_byte_code(side)
    print("\n".join([machine(), "", *_HEADER]), flush=True)
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for peak in measured(args.only or COMMANDS, args.networks or NETWORKS, base, folder):
            print(row(peak), flush=True)
            bad += not peak.holds
    return int(bad > 0)


def measured(
    scripts: Sequence[str] | dict[str, str], networks: Sequence[str] | dict[str, float],
    base: Path, folder: Path,
) -> Iterator[Peak]:  # fmt: skip
    """Every command on every network, on both sides in turn."""
    small = write_network(folder, "one-layer", _ONE_LAYER)
    libraries = {script: peak_bytes(script, small, HERE, folder) for script in scripts}
    for network in networks:
        cfg = write_network(folder, network, cfg_text(network, folder))
        size = cfg.with_suffix(".weights").stat().st_size
        for script in scripts:
            there, here = (peak_bytes(script, cfg, side, folder) for side in (base, HERE))
            yield Peak(script, network, size, there, here, libraries[script])
        cfg.with_suffix(".weights").unlink()


def cfg_text(network: str, folder: Path) -> str:
    """A cfg of cfg/, or yolov4-csp with filters until it is as large as is asked for."""
    millions = NETWORKS[network]
    if not millions:
        return (HERE / "cfg" / f"{network}.cfg").read_text()
    low, high = 1.0, 4.0
    while high - low > 0.005:
        middle = (low + high) / 2
        (folder / "wide.cfg").write_text(_widened(middle))
        parameters = count_parameters(build_layers(load_cfg(folder / "wide.cfg")))
        low, high = (middle, high) if parameters < millions * 1e6 else (low, middle)
    return _widened(low)


def _widened(factor: float) -> str:
    """yolov4-csp with that many times its filters, but for those that its heads read."""
    cfg = load_cfg(HERE / "cfg" / "yolov4-csp.cfg")
    heads = [section.kind == "yolo" for section in cfg.layers] + [False]
    wider = {
        index: set_option(section, "filters", 8 * round(section.integer("filters", 1) * factor / 8))
        for index, section in enumerate(cfg.layers)
        if section.kind == "convolutional" and not heads[index + 1]
    }
    return format_cfg(replace_layers(cfg, wider))


def write_network(folder: Path, name: str, text: str) -> Path:
    """NAME.cfg and NAME.weights with random numbers, made by another process; the cfg."""
    path = folder / f"{name}.cfg"
    path.write_text(text)
    code = (
        "import torch, sys; from models import Darknet\n"
        "torch.manual_seed(0); model = Darknet(sys.argv[1])\n"
        "for key, tensor in model.state_dict().items():\n"
        "    if key.endswith('bn.weight'): tensor.uniform_(0, 1)\n"
        "model.save_weights(sys.argv[2])\n"
    )
    words = [sys.executable, "-c", code, str(path), str(path.with_suffix(".weights"))]
    subprocess.run(words, cwd=HERE, check=True)
    return path


def peak_bytes(script: str, cfg: Path, checkout: Path, folder: Path) -> int:
    """The largest resident size of a command. Raises RuntimeError where it does not end well."""
    words = COMMANDS[script].format(cfg=cfg, weights=cfg.with_suffix(".weights")).split()
    command = [sys.executable, str(checkout / script), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(dir=folder) as own, (folder / "said").open("w+") as said:
        process = subprocess.Popen(
            command, cwd=own, env=environment, stdout=said, stderr=said,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        for made in folder.glob("prune_*"):
            made.unlink()
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)}: {process.returncode}\n{said.read()[-2000:]}")
    return used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


_HEADER = (
    "| command | network | weights, MiB | base, MiB | here, MiB | libraries, MiB "
    "| (here - libraries) / weights | here / base |",
    "|---|---|---|---|---|---|---|---|",
)


def row(peak: Peak) -> str:
    """A line of the table."""
    sizes = (peak.weights_bytes, peak.base_bytes, peak.here_bytes, peak.libraries_bytes)
    cells = [f"{size / _MIB:.0f}" for size in sizes]
    shares = (f"{peak.share:.2f}", f"{peak.here_bytes / peak.base_bytes:.2f}")
    return f"| {peak.script} | {peak.network} | {' | '.join([*cells, *shares])} |"


if __name__ == "__main__":
    run_main(main)
