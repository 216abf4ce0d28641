"""Write the cfg zoo: the architectures of cfg/ as Darknet cfg files (make_cfg.py writes others).

Example:
    python -m utils.zoo --output cfg

Files of the same names are replaced; a file that would not change is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..command.cli import Parser, run_main
from ..command.errors import UserError
from ..command.files import atomic_write
from . import ZOO


def main(argv: Sequence[str] | None = None) -> list[Path]:
    """Write the files; returns the paths of those that changed."""
    parser = Parser(__doc__, prog="python -m utils.zoo")
    parser.add_argument("--output", default="cfg", metavar="FOLDER", help="where the files go")
    folder = Path(parser.parse_args(argv).output)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; make it or name another with --output")
    changed = []
    for name, architecture in ZOO.items():
        path = folder / f"{name}.cfg"
        content = architecture().encode("ascii")
        if path.is_file() and path.read_bytes() == content:
            continue
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
        changed.append(path)
    print("\n".join(f"written: {path}" for path in changed) or f"{folder}: all up to date")
    return changed


if __name__ == "__main__":
    run_main(main)
