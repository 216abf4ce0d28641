"""Turn annotations of other tools into Darknet's layout; see --help.

The code is in utils/annotations. A script started from this folder does not see `utils`, so it is
started anew as a module of the repository, in the folder where the user is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run `python -m utils.annotations` with the same arguments; its exit status."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "utils.annotations", *sys.argv[1:]]
    with subprocess.Popen(command, env=environment) as process:
        while True:
            try:
                status = process.wait()
            except KeyboardInterrupt:  # the terminal tells both: what to say is the command's
                continue
            return status if status >= 0 else 128 - status  # of a signal, as a shell has it


if __name__ == "__main__":
    sys.exit(main())
