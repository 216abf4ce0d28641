"""Print what pyproject.toml asks for, one requirement a line.

    python .ci/requirements.py [GROUP ...] > requirements.txt

pip reads such a list, but not that of a pyproject.toml whose project is not a package.
"""

from __future__ import annotations

import sys
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib  # type: ignore[no-redef]


def main() -> None:
    """The project's dependencies, then those of each group or extra named on the command line."""
    path = Path(__file__).parent.parent / "pyproject.toml"
    settings = tomllib.loads(path.read_text(encoding="utf-8"))
    wanted = list(settings["project"]["dependencies"])
    groups = settings["dependency-groups"] | settings["project"]["optional-dependencies"]
    for group in sys.argv[1:]:
        wanted += groups[group]
    print("\n".join(wanted))


if __name__ == "__main__":
    main()
