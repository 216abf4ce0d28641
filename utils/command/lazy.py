"""Modules that are loaded at their first use, for commands that often end without any.

The standard library's LazyLoader does not serve: it loads a module as soon as a second `import` of
it runs, since that asks for its `__spec__`; and before Python 3.12 a second thread may find the
module half loaded.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from types import ModuleType
from typing import Any

# One for all: modules load each other, and two threads that start at two ends would both wait.
_LOCK = threading.RLock()
_RUNNING: set[str] = set()  # names of the modules whose code runs at the moment


class _Postponed(ModuleType):
    """A module whose code has not run yet; it becomes an ordinary one when that is done."""

    def __getattribute__(self, name: str) -> Any:
        """What is asked for, after loading, but for the one thing that an `import` asks for."""
        if name != "__spec__":
            _load(self)
        return ModuleType.__getattribute__(self, name)


def postpone(name: str) -> None:
    """From here on `import NAME` costs nothing: the first use of the module loads it.

    A module that is loaded stays as it is; of one that is missing, the import fails as ever. Any
    form of import that asks for something inside (`from NAME import ...`, `import NAME.inner`)
    loads it at once. Other threads wait until it is loaded; when that fails, the error is raised
    at the use, and the next use tries again. Not for modules that put something else in their own
    place in sys.modules.
    """
    spec = None if name in sys.modules else importlib.util.find_spec(name)
    if spec is None:
        return
    module = importlib.util.module_from_spec(spec)
    module.__class__ = _Postponed
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


def _load(module: ModuleType) -> None:
    """Run the module's code, once; what that code asks of its module meanwhile is looked up."""
    with _LOCK:
        spec, loaded = module.__spec__, type(module) is not _Postponed
        assert spec is not None and spec.loader is not None
        if loaded or spec.name in _RUNNING:
            return
        _RUNNING.add(spec.name)
        try:
            spec.loader.exec_module(module)
        finally:
            _RUNNING.discard(spec.name)
        module.__class__ = ModuleType
