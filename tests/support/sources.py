"""The repository's sources as syntax trees, and what they import: for the rules on the layout."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("utils", "data", "tests", "benchmarks", ".ci")
# Calls that import the module whose name they are given: `utils/command/optional.py: load`.
IMPORTING_CALLS = {"load", "optional.load", "import_module", "importlib.import_module"}

Sources = Mapping[PurePosixPath, ast.Module]  # by the path from the repository's root


@cache
def sources() -> Sources:
    """Every Python file of the repository."""
    inner = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return {
        PurePosixPath(path.relative_to(ROOT).as_posix()): ast.parse(
            path.read_text(encoding="utf-8"), str(path)
        )
        for path in sorted([*ROOT.glob("*.py"), *inner])
    }


@dataclass(frozen=True)
class Import:
    """One import of a file: `from MODULE import NAMES`, or `import MODULE` without names.

    module: absolute, `utils.cfg.parse`; it may lie above the repository, as `..`.
    late: within a function, so that it waits until the function is called.
    """

    line: int
    module: str
    names: tuple[str, ...]
    late: bool

    @property
    def library(self) -> str:
        """The first word: `torch` of `torch.nn`."""
        return self.module.partition(".")[0]


@cache
def imports_of(path: PurePosixPath, tree: ast.Module) -> tuple[Import, ...]:
    """All imports of a file, those within functions and by `load("name")` included."""
    return tuple(_imports(path, tree, late=False))


def _imports(path: PurePosixPath, tree: ast.AST, late: bool) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, (), late)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            yield Import(node.lineno, _absolute(path, node), names, late)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in IMPORTING_CALLS and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield Import(node.lineno, name.value, (), late)
        inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _imports(path, node, late or inner)


def _absolute(path: PurePosixPath, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    above = path.parts[: len(path.parts) - node.level]
    if len(path.parts) < node.level:
        return ".."
    return ".".join((*above, *filter(None, [node.module])))


def files_of(found: Import, among: Sources) -> list[PurePosixPath]:
    """The files of ours that an import runs: the modules and the `__init__.py` on the way to them.

    Empty for a library.
    """
    place = _place(found)
    modules = [place.with_suffix(".py"), *(place / f"{name}.py" for name in found.names)]
    packages = [place, *place.parents, *(place / name for name in found.names)]
    wanted = [*modules, *(folder / "__init__.py" for folder in packages if folder.name)]
    return [path for path in wanted if path in among]


def all_folders(among: Sources) -> set[PurePosixPath]:
    """Every folder with a file in it or below."""
    return {folder for path in among for folder in path.parents if folder.name}


def folders_of(
    found: Import, among: Sources, known: Collection[PurePosixPath]
) -> set[PurePosixPath]:
    """The folders of ours, out of `known`, that an import names; a package stands for itself."""
    place = _place(found)
    if place.with_suffix(".py") in among:
        return {place.parent}
    inner = {place / name for name in found.names}.intersection(known)
    own = {place} if place in known and len(inner) < max(1, len(found.names)) else set()
    return inner | own


def _place(found: Import) -> PurePosixPath:
    words = [word for word in found.module.split(".") if word]
    return PurePosixPath(*words) if words else PurePosixPath("nowhere")


def is_docstring_alone(tree: ast.Module) -> bool:
    """Whether a file holds nothing but its docstring, if that."""
    return all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in tree.body
    )
