"""The guard rails of docs/design.md on single files; those on folders are in test_rooms.py."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import pytest

from tests.support.sources import ROOT, imports_of, sources

LARGEST_FILE_LINES = 350
LARGEST_FUNCTION_LINES = 60
GRAB_BAGS = {"utils", "util", "general", "misc", "common", "helper", "helpers", "tools"}

# The rooms of utils, from the ground up: a room imports rooms of lower floors only.
FLOORS = (
    ("command",),
    ("cfg", "data"),
    ("network",),
    ("zoo", "pictures"),
    ("translate", "detection"),
    ("training", "runtimes", "annotations", "masks"),
    ("pruning",),
    ("describe", "chains"),
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS, 1) for room in rooms}

# Libraries that are slow to load or drawn in for one purpose, and the only places for them: a file,
# or all files below a folder. (torch has its own rule: test_rooms.py, LIGHT.)
PLACES = {
    "terminaltables": ("utils/command/table.py",),
    "tensorboard": ("utils/training/record.py",),
    "torch.utils.tensorboard": ("utils/training/record.py",),
    "matplotlib": ("utils/pictures/", "utils/pruning/report/"),  # and see `is_chart`
    "cv2": ("utils/data/", "utils/pictures/", "utils/detection/", "utils/runtimes/",
            "utils/pruning/report/", "demo.py", "detect.py", "val.py", "benchmarks/peers/"),
    "optuna": ("utils/chains/search/",),
    "sqlalchemy": ("utils/chains/search/",),
    "onnx": ("utils/runtimes/",),
    "onnxscript": ("utils/runtimes/onnx/",),
    "onnxruntime": ("utils/runtimes/", "benchmarks/families/", "benchmarks/onnx_profile.py"),
    "openvino": ("utils/runtimes/", "benchmarks/families/"),
    "nncf": ("utils/runtimes/",),
    "ncnn": ("utils/runtimes/",),
    "pnnx": ("utils/runtimes/",),
    "MNN": ("utils/runtimes/", "benchmarks/families/"),
    "litert_torch": ("utils/runtimes/",),
    "ai_edge_litert": ("utils/runtimes/", "benchmarks/latency_probe.py"),
    "ai_edge_quantizer": ("utils/runtimes/",),
    "executorch": ("utils/runtimes/executorch/",),
}  # fmt: skip

# Rules that the tree does not keep yet: their breaches are found, the tree is not asked.
NOT_YET: tuple[str, ...] = ()

Rule = Callable[[PurePosixPath, ast.Module], Iterator[str]]


def in_utils(path: PurePosixPath) -> bool:
    return path.parts[0] == "utils"


def is_test(path: PurePosixPath) -> bool:
    return path.parts[0] == "tests"


def is_chart(path: PurePosixPath) -> bool:
    """A module that draws one picture of figures, in whatever room has them."""
    return in_utils(path) and "chart" in path.stem


def utils_imports_relatively(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
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


def imports_no_star(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield f"{path}:{node.lineno}: import *"


def names_what_it_catches(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"{path}:{node.lineno}: bare except"


def loads_weights_only(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"):
            continue
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if given.get("weights_only") != "True":
            yield f"{path}:{node.lineno}: torch.load without weights_only=True"


def leaves_sys_path_alone(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path":
            yield f"{path}:{node.lineno}: sys.path"


def is_no_grab_bag(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    if path.stem in GRAB_BAGS or (path.name == "__init__.py" and path.parent.name in GRAB_BAGS):
        # The package's name is the family's; its own __init__ holds nothing.
        if path.parts == ("utils", "__init__.py") and len(tree.body) <= 2:
            return
        yield f"{path}: a module's name says what is in it"


def fits_a_screen(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
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


def imports_go_downhill(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """A room knows rooms of lower floors only: it can be read, moved and used without the rest."""
    if not in_utils(path) or path == PurePosixPath("utils/__init__.py"):
        return
    own = path.parts[1]
    if own not in FLOOR_OF:
        yield f"{path}: is in no room of FLOORS"
        return
    for found in imports_of(path, tree):
        words = found.module.split(".")
        if words[0] != "utils":
            continue
        for room in words[1:2] or found.names:
            if room != own and FLOOR_OF.get(room, len(FLOORS)) >= FLOOR_OF[own]:
                yield f"{path}:{found.line}: {own} imports {room}, which is not below it"


def libraries_have_their_places(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """One table says where a library may be: elsewhere the room that wraps it is asked."""
    if is_test(path):
        return
    for found in imports_of(path, tree):
        names = {found.module, *(f"{found.module}.{name}" for name in found.names)}
        for library, places in PLACES.items():
            if not any(f"{name}.".startswith(f"{library}.") for name in names):
                continue
            if library == "matplotlib" and is_chart(path):
                continue
            if not any(str(path) == place or _is_below(path, place) for place in places):
                yield f"{path}:{found.line}: imports {library}; that is for {', '.join(places)}"


def _is_below(path: PurePosixPath, folder: str) -> bool:
    return folder.endswith("/") and str(path).startswith(folder)


def hands_no_namespace_on(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """What a command line said leaves flags.py as typed values: mypy sees into those."""
    if not in_utils(path) or path.stem in ("flags", "__main__"):
        return
    yield from (f"{path}:{line}: Namespace" for line in _lines_naming(tree, "Namespace"))


def hides_no_import(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """An import for annotations alone is one all the same: it shows a circle."""
    yield from (f"{path}:{line}: TYPE_CHECKING" for line in _lines_naming(tree, "TYPE_CHECKING"))


def _lines_naming(tree: ast.Module, name: str) -> Iterator[int]:
    for node in ast.walk(tree):
        named: list[object] = [getattr(node, "id", None), getattr(node, "attr", None)]
        if isinstance(node, ast.ImportFrom):
            named += [alias.name for alias in node.names]
        if name in named:
            yield node.lineno


def nobody_imports_a_test(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """What two test files need lies in tests/support: a test file is nobody's library."""
    if not is_test(path):
        return
    for found in imports_of(path, tree):
        words = [*found.module.split("."), *found.names]
        if words[0] == "tests" and any(word.startswith(("test_", "conftest")) for word in words):
            yield f"{path}:{found.line}: imports {'.'.join(words)}"


def every_test_asserts(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """A test says what must hold: itself, or by a function of its own file that does."""
    if not (is_test(path) and path.name.startswith("test_")):
        return
    functions = {f.name: f for f in tree.body if isinstance(f, ast.FunctionDef)}
    asserting = {name for name, function in functions.items() if _asserts(function)}
    for name, function in functions.items():
        called = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
        helpers = {helper for helper in called & asserting if not helper.startswith("test_")}
        if name.startswith("test_") and name not in asserting and not helpers:
            yield f"{path}:{function.lineno}: {name} asserts nothing"


def _asserts(function: ast.FunctionDef) -> bool:
    for node in ast.walk(function):
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Assert) or "raises" in called or "assert" in called:
            return True
    return False


RULES: tuple[Rule, ...] = (
    utils_imports_relatively,
    imports_no_star,
    names_what_it_catches,
    loads_weights_only,
    leaves_sys_path_alone,
    is_no_grab_bag,
    fits_a_screen,
    imports_go_downhill,
    libraries_have_their_places,
    hands_no_namespace_on,
    hides_no_import,
    nobody_imports_a_test,
    every_test_asserts,
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
    (imports_go_downhill, "utils/data/a.py", "from ..cfg.parse import Cfg"),  # the same floor
    (imports_go_downhill, "utils/network/layers/a.py", "from ...pruning import plan"),
    (imports_go_downhill, "utils/network/a.py", "from .. import pruning"),
    (imports_go_downhill, "utils/cfg/a.py", "def f():\n    from ..training.run import Run"),
    (imports_go_downhill, "utils/loose.py", ""),
    (imports_go_downhill, "utils/annex/a.py", ""),
    (libraries_have_their_places, "utils/masks/a.py", "from terminaltables import AsciiTable"),
    (libraries_have_their_places, "prune.py", "import matplotlib.pyplot as plt"),
    (libraries_have_their_places, "utils/masks/report.py", "import matplotlib"),
    (libraries_have_their_places, "utils/cfg/a.py", "import cv2"),
    (libraries_have_their_places, "utils/masks/a.py", "from torch.utils import tensorboard"),
    (
        libraries_have_their_places,
        "utils/training/a.py",
        "from torch.utils.tensorboard import SummaryWriter",
    ),
    (libraries_have_their_places, "utils/zoo/a.py", "def f():\n    x = load('onnx.helper')"),
    (libraries_have_their_places, "utils/network/a.py", "import onnxruntime"),
    (hands_no_namespace_on, "utils/masks/run.py", "from argparse import Namespace"),
    (hands_no_namespace_on, "utils/masks/run.py", "def f(args: argparse.Namespace): ..."),
    (hides_no_import, "utils/a.py", "from typing import TYPE_CHECKING"),
    (hides_no_import, "tests/a.py", "import typing\nif typing.TYPE_CHECKING:\n    import a"),
    (nobody_imports_a_test, "tests/a/test_b.py", "from tests.a.test_c import run"),
    (nobody_imports_a_test, "tests/a/test_b.py", "from tests.a import test_c"),
    (nobody_imports_a_test, "tests/support/b.py", "import tests.a.test_c"),
    (nobody_imports_a_test, "tests/a/test_b.py", "from .test_c import run"),
    (every_test_asserts, "tests/a/test_b.py", "def test_a():\n    f()"),
    (
        every_test_asserts,
        "tests/a/test_b.py",
        "def test_a():\n    assert f()\ndef test_b():\n    test_a()",
    ),
]
KEPT = [
    (imports_go_downhill, "utils/pruning/a.py", "from ..cfg import Cfg\nfrom .b import c"),
    (libraries_have_their_places, "utils/chains/lottery_chart.py", "import matplotlib"),
    (libraries_have_their_places, "utils/runtimes/onnx/run.py", "x = load('onnxruntime')"),
    (libraries_have_their_places, "utils/network/a.py", "from torch.utils import data"),
    (hands_no_namespace_on, "utils/masks/flags.py", "from argparse import Namespace"),
    (nobody_imports_a_test, "tests/a/test_b.py", "from tests.support.nets import net"),
    (every_test_asserts, "tests/a/test_b.py", "def test_a():\n    np.testing.assert_equal(1, 1)"),
    (
        every_test_asserts,
        "tests/a/test_b.py",
        "def refused():\n    with pytest.raises(E): ...\ndef test_b():\n    refused()",
    ),
]


def _case(value: object) -> str:
    """A name for a parameter that is the same in every process (a function's own text is not)."""
    return getattr(value, "__name__", str(value))[:40]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_sources_keep_the_rule(rule: Rule) -> None:
    if rule.__name__ in NOT_YET:
        pytest.skip("not yet")
    assert len(sources()) > 10
    found = [f"{path}: {fault}" for path, tree in sources().items() for fault in rule(path, tree)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("rule", "name", "source"), BROKEN, ids=_case)
def test_rule_finds_a_breach(rule: Rule, name: str, source: str) -> None:
    assert list(rule(PurePosixPath(name), ast.parse(source)))


@pytest.mark.parametrize(("rule", "name", "source"), KEPT, ids=_case)
def test_rule_lets_the_rest_be(rule: Rule, name: str, source: str) -> None:
    assert not list(rule(PurePosixPath(name), ast.parse(source)))


def test_every_rule_has_a_breach() -> None:
    assert {rule for rule, _, _ in BROKEN} == set(RULES)
    assert set(NOT_YET) <= {rule.__name__ for rule in RULES}


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
