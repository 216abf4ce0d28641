"""The guard rails of docs/design.md, checked on the sources themselves."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    path
    for folder in (".", "utils", "data", "tests", "benchmarks", ".ci")
    for path in (ROOT / folder).glob("*.py" if folder == "." else "**/*.py")
)
LARGEST_FILE_LINES = 350
LARGEST_FUNCTION_LINES = 60
GRAB_BAGS = {"utils", "util", "general", "misc", "common", "helper", "helpers", "tools"}

Rule = Callable[[Path, ast.Module], Iterator[str]]


def in_utils(path: Path) -> bool:
    return path.parts[0] == "utils"


def is_test(path: Path) -> bool:
    return path.parts[0] == "tests"


def utils_imports_relatively(path: Path, tree: ast.Module) -> Iterator[str]:
    """`utils` can be vendored under any name, and never reaches up to the top-level scripts."""
    if not in_utils(path):
        return
    top_level = {"utils", *(found.stem for found in ROOT.glob("*.py"))} | {"models"}
    depth = len(path.parts) - 1
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level > depth:
                yield f"line {node.lineno}: reaches out of utils"
            names = [] if node.level else [node.module or ""]
        for name in names:
            if name.split(".")[0] in top_level:
                yield f"line {node.lineno}: imports {name}"


def imports_no_star(path: Path, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield f"{path}:{node.lineno}: import *"


def names_what_it_catches(path: Path, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"{path}:{node.lineno}: bare except"


def loads_weights_only(path: Path, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"):
            continue
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if given.get("weights_only") != "True":
            yield f"{path}:{node.lineno}: torch.load without weights_only=True"


def leaves_sys_path_alone(path: Path, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path":
            yield f"{path}:{node.lineno}: sys.path"


def is_no_grab_bag(path: Path, tree: ast.Module) -> Iterator[str]:
    if path.stem in GRAB_BAGS or (path.name == "__init__.py" and path.parent.name in GRAB_BAGS):
        # The package's name is the family's; its own __init__ holds nothing.
        if path.parts == ("utils", "__init__.py") and len(tree.body) <= 2:
            return
        yield f"{path}: a module's name says what is in it"


def fits_a_screen(path: Path, tree: ast.Module) -> Iterator[str]:
    if is_test(path):
        return
    last_line = max((node.end_lineno or 0 for node in tree.body), default=0)
    if last_line > LARGEST_FILE_LINES:
        yield f"{path}: {last_line} lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > LARGEST_FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {lines} lines"


RULES: tuple[Rule, ...] = (
    utils_imports_relatively,
    imports_no_star,
    names_what_it_catches,
    loads_weights_only,
    leaves_sys_path_alone,
    is_no_grab_bag,
    fits_a_screen,
)

BROKEN = [
    (utils_imports_relatively, "utils/a.py", "from models import Darknet"),
    (utils_imports_relatively, "utils/a/b.py", "import utils.cfg"),
    (utils_imports_relatively, "utils/a.py", "from utils.cfg import Cfg"),
    (utils_imports_relatively, "utils/a.py", "from ..models import Darknet"),
    (imports_no_star, "prune.py", "from models import *"),
    (names_what_it_catches, "utils/a.py", "try:\n    f()\nexcept:\n    pass"),
    (loads_weights_only, "utils/a.py", "torch.load(path)"),
    (loads_weights_only, "tests/a.py", "torch.load(path, weights_only=False)"),
    (leaves_sys_path_alone, "train.py", "import sys\nsys.path.append('.')"),
    (is_no_grab_bag, "utils/helpers.py", ""),
    (is_no_grab_bag, "utils/misc/__init__.py", ""),
    (fits_a_screen, "utils/a.py", "x = 1\n" * (LARGEST_FILE_LINES + 1)),
    (fits_a_screen, "utils/a.py", "def f():\n" + "    x = 1\n" * LARGEST_FUNCTION_LINES),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_sources_keep_the_rule(rule: Rule) -> None:
    assert len(SOURCES) > 10
    found = []
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        found += [f"{path}: {fault}" for fault in rule(path.relative_to(ROOT), tree)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("rule", "name", "source"), BROKEN, ids=lambda value: str(value)[:40])
def test_rule_finds_a_breach(rule: Rule, name: str, source: str) -> None:
    assert list(rule(Path(name), ast.parse(source)))


def test_constraints_pin_every_requirement() -> None:
    """What pyproject.toml lets float, constraints.txt fixes, so that two set-ups are equal."""
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = settings["project"]["dependencies"] + settings["dependency-groups"]["dev"]
    names = {text.split(">=")[0].lower() for text in wanted}
    pinned = {
        line.split("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    assert "torch" in names
    assert names <= pinned
