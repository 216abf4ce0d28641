"""Make the virtual environment of the peers: their pinned versions, away from darkslim's own.

    python -m benchmarks.peers.setup                       # into .venv-peers, about 5 minutes
    python -m benchmarks.peers.setup --output /tmp/peers

Nothing is done where the environment holds these versions already.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from utils.command.cli import Parser, run_main
from utils.command.errors import UserError

HERE = Path(__file__).resolve().parent
DEFAULT = Path(".venv-peers")
REQUIREMENTS = HERE / "requirements.txt"
_SHOWN = (
    "import torch, ultralytics, importlib.metadata as m\n"
    "print('torch', torch.__version__, 'ultralytics', ultralytics.__version__,"
    " 'torch-pruning', m.version('torch-pruning'))"
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = Parser(__doc__)
    parser.add_argument("--output", type=Path, default=DEFAULT, help="folder of the environment")
    args = parser.parse_args(argv)
    done = args.output / "requirements.done"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if not done.is_file() or done.read_text(encoding="utf-8") != wanted:
        venv.create(args.output, with_pip=True)
        install(args.output)
        done.write_text(wanted, encoding="utf-8")
    print(f"{python_of(args.output)}: {versions(python_of(args.output))}")


def install(folder: Path) -> None:
    """Fetch the packages. Raises UserError where pip fails."""
    command = [str(python_of(folder)), "-m", "pip", "install", "-r", str(REQUIREMENTS)]
    if subprocess.run(command, check=False).returncode:
        raise UserError(f"{folder}: pip could not install {REQUIREMENTS}: its lines above say why")


def python_of(folder: Path) -> Path:
    """The interpreter of an environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def versions(python: Path) -> str:
    """What an interpreter has of the peers. Raises UserError where it has not all of them."""
    command = [str(python), "-c", _SHOWN]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it does not start"])[-1]
        raise UserError(f"{python}: {reason}; make it by python -m benchmarks.peers.setup")
    return done.stdout.strip().splitlines()[-1]


if __name__ == "__main__":
    run_main(main)
