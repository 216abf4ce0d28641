"""The guard rails of docs/design.md on the whole tree: what folders and light modules import."""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath

import pytest

from tests.support.sources import (
    Sources,
    all_folders,
    files_of,
    folders_of,
    imports_of,
    is_docstring_alone,
    sources,
)

LARGEST_ROOM = 16  # files, but for __init__.py

# Modules that load in no time: to import them is to import the standard library, terminaltables and
# modules that do the same. A command's first words (its help, a mistake) come from these alone.
# Beside those named here: every flags.py and options.py, and the scripts.
LIGHT = (
    "utils/command/cli.py",
    "utils/command/errors.py",
    "utils/command/files.py",
    "utils/command/folders.py",
    "utils/command/value_range.py",
    "utils/command/table.py",
    "utils/command/csv_file.py",
    "utils/command/optional.py",
    "utils/cfg/",
    "utils/data/options.py",
    "utils/data/darknet_files.py",
    "utils/detection/options.py",
    "utils/detection/as_the_cfg_says.py",
    "utils/detection/inputs.py",
    "utils/pruning/strategy.py",
    "utils/annotations/__main__.py",  # data/convert.py
    "utils/pictures/drawn_set/__main__.py",  # data/shapes.py
    "utils/zoo/",
)
LIGHT_LIBRARIES = sys.stdlib_module_names | {"terminaltables"}

# Packages that are an index of what they hold; any other one's __init__.py says what it is for.
INDEXES = ("utils/cfg", "utils/network/layers", "utils/pictures/diagram", "utils/zoo")

# Rules that the tree does not keep yet: their breaches are found, the tree is not asked.
NOT_YET: tuple[str, ...] = ()

Rule = Callable[[Sources], Iterator[str]]


def folders_form_no_circle(tree: Sources) -> Iterator[str]:
    """Folders of utils, subfolders being folders of their own, import each other one way only."""
    known = all_folders(tree)
    arrows: dict[PurePosixPath, dict[PurePosixPath, str]] = defaultdict(dict)
    for path, module in tree.items():
        if path.parts[0] != "utils":
            continue
        for found in imports_of(path, module):
            for folder in folders_of(found, tree, known) - {path.parent}:
                arrows[path.parent].setdefault(folder, f"{path}:{found.line}")
    reached = {folder: _reached(folder, arrows) for folder in arrows}
    for start, ends in sorted(arrows.items()):
        for end, where in sorted(ends.items()):
            if start in reached.get(end, ()):
                yield f"{where}: {start} -> {end}, which is part of a circle"


def _reached(start: PurePosixPath, arrows: Mapping[PurePosixPath, object]) -> set[PurePosixPath]:
    found: set[PurePosixPath] = set()
    waiting = [start]
    while waiting:
        for folder in arrows.get(waiting.pop(), ()):  # type: ignore[attr-defined]
            if folder not in found:
                found.add(folder)
                waiting.append(folder)
    return found


def rooms_are_small(tree: Sources) -> Iterator[str]:
    """A folder is read as one list; a longer one wants to be two."""
    counts = Counter(
        path.parent for path in tree if path.stem != "__init__" and len(path.parts) > 1
    )
    for folder, count in counts.items():
        if count > LARGEST_ROOM:
            yield f"{folder}: {count} files"


def packages_hold_a_docstring(tree: Sources) -> Iterator[str]:
    """Whoever imports one module of a room does not load the others."""
    for path, module in tree.items():
        package = path.name == "__init__.py" and str(path.parent) not in INDEXES
        if package and not is_docstring_alone(module):
            yield f"{path}: holds more than its docstring"


def light_modules_load_light_ones(tree: Sources) -> Iterator[str]:
    """What LIGHT names imports nothing slow, by no way; functions may, once they are called."""
    way_of: dict[PurePosixPath, str] = {}
    for path in tree:
        if is_light(path):
            way = _way_to_a_library(path, tree, way_of)
            if way:
                yield way


def _way_to_a_library(path: PurePosixPath, tree: Sources, way_of: dict[PurePosixPath, str]) -> str:
    """`file:line <- file:line <- torch`, as soon as the file is imported; empty if it is light."""
    if path not in way_of:
        way_of[path] = ""  # what imports itself in a circle adds nothing
        for found in imports_of(path, tree[path]):
            if found.late:
                continue
            files = files_of(found, tree)
            library = found.library not in LIGHT_LIBRARIES and not files
            ways = [found.library if library else ""]
            ways += [_way_to_a_library(file, tree, way_of) for file in files]
            way = next(filter(None, ways), "")
            if way:
                way_of[path] = f"{path}:{found.line} <- {way}"
                break
    return way_of[path]


def is_light(path: PurePosixPath) -> bool:
    """Whether LIGHT is about this file."""
    named = any(
        str(path) == place or (place.endswith("/") and str(path).startswith(place))
        for place in LIGHT
    )
    by_name = path.parts[0] == "utils" and path.stem in ("flags", "options")
    return named or by_name or is_script(path)


def is_script(path: PurePosixPath) -> bool:
    """Whether people start this file."""
    top = len(path.parts) == 1 and path.name != "models.py"
    return top or path.parent == PurePosixPath("data")


RULES: tuple[Rule, ...] = (
    folders_form_no_circle,
    rooms_are_small,
    packages_hold_a_docstring,
    light_modules_load_light_ones,
)

BROKEN: list[tuple[Rule, dict[str, str]]] = [
    (
        folders_form_no_circle,
        {"utils/a/b.py": "from ..c.d import x", "utils/c/d.py": "from ..a import b"},
    ),
    (  # a room and its own subfolder
        folders_form_no_circle,
        {
            "utils/a/b.py": "from .c.d import x",
            "utils/a/c/d.py": "def f():\n    from ..e import y",
            "utils/a/e.py": "",
        },
    ),
    (  # by a package's index, and over three folders
        folders_form_no_circle,
        {
            "utils/a/__init__.py": "from ..b import x",
            "utils/b/__init__.py": "from ..c.d import x",
            "utils/c/d.py": "from ..a import x",
        },
    ),
    (rooms_are_small, {f"utils/a/m{k}.py": "" for k in range(LARGEST_ROOM + 1)}),
    (rooms_are_small, {f"tests/support/m{k}.py": "" for k in range(LARGEST_ROOM + 1)}),
    (packages_hold_a_docstring, {"utils/a/__init__.py": "from .b import c", "utils/a/b.py": ""}),
    (light_modules_load_light_ones, {"utils/cfg/a.py": "import numpy as np"}),
    (light_modules_load_light_ones, {"utils/command/cli.py": "import yaml"}),
    (light_modules_load_light_ones, {"prune.py": "from tqdm import tqdm"}),
    (light_modules_load_light_ones, {"data/convert.py": "class A:\n    import cv2"}),
    (
        light_modules_load_light_ones,
        {
            "utils/masks/flags.py": "from . import run",
            "utils/masks/run.py": "from ..network import a",
            "utils/network/a.py": "import torch",
        },
    ),
    (  # a package that is not empty lies on the way
        light_modules_load_light_ones,
        {
            "utils/masks/flags.py": "from .options import X",
            "utils/masks/options.py": "",
            "utils/masks/__init__.py": "import torch",
        },
    ),
]
KEPT: list[tuple[Rule, dict[str, str]]] = [
    (
        folders_form_no_circle,
        {
            "utils/a/b.py": "from .e import x\nfrom ..c.d import x",
            "utils/a/e.py": "from ..f.g import x",
            "utils/c/d.py": "from ..f import g",
            "utils/f/g.py": "import torch",
        },
    ),
    (rooms_are_small, {f"utils/a/m{k}.py": "" for k in range(LARGEST_ROOM)}),
    (packages_hold_a_docstring, {"utils/a/__init__.py": '"""What it is for."""'}),
    (
        light_modules_load_light_ones,
        {
            "prune.py": "import sys\nfrom utils.cfg import Cfg\n"
            "def main():\n    from models import Darknet",
            "utils/__init__.py": '"""Everything."""',
            "utils/cfg/__init__.py": "from .parse import Cfg",
            "utils/cfg/parse.py": "import re",
            "models.py": "import torch",
            "utils/masks/run.py": "import torch",
            "utils/masks/flags.py": "from .a import b",  # light as well, though nobody says so
            "utils/masks/a.py": "from .flags import c",
        },
    ),
]


def parsed(files: Mapping[str, str]) -> Sources:
    return {PurePosixPath(name): ast.parse(source) for name, source in files.items()}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(rule: Rule) -> None:
    if rule.__name__ in NOT_YET:
        pytest.skip("not yet")
    found = list(rule(sources()))
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("rule", "files"), BROKEN)
def test_rule_finds_a_breach(rule: Rule, files: dict[str, str]) -> None:
    assert list(rule(parsed(files)))


@pytest.mark.parametrize(("rule", "files"), KEPT)
def test_rule_lets_the_rest_be(rule: Rule, files: dict[str, str]) -> None:
    assert not list(rule(parsed(files)))


def test_every_rule_has_a_breach() -> None:
    assert {rule for rule, _ in BROKEN} == {rule for rule, _ in KEPT} == set(RULES)
    assert set(NOT_YET) <= {rule.__name__ for rule in RULES}


def test_what_is_called_light_is_there() -> None:
    folders = {f"{folder}/" for path in sources() for folder in path.parents}
    assert set(LIGHT) <= {str(path) for path in sources()} | folders
    assert set(INDEXES) <= {str(path.parent) for path in sources() if path.name == "__init__.py"}
