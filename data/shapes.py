"""Draw the embedded data set: discs, triangles and stars on cluttered backgrounds; see --help.

The code is in utils/pictures/drawn_set. A script started from this folder does not see `utils`, so
it is started anew as a module of the repository, in the folder where the user is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run `python -m utils.pictures.drawn_set` with the same arguments; its exit status."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "utils.pictures.drawn_set", *sys.argv[1:]]
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
