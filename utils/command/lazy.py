"""Packages that load at their first use and not at their import."""

from __future__ import annotations

import importlib.util
import sys
import threading
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def postpone(name: str) -> None:
    """Let `import NAME`, from now on, load the package only when something in it is asked for.

    Does nothing where it is loaded already, or not installed: an import then fails as it always
    does. `from NAME import x` and `import NAME.x` ask for something, and load it.

    What stands in `sys.modules` until then is the package's own module object, empty but for the
    attributes that the import system sets; the first look-up that finds nothing fills it. So
    whoever has imported it early or late has one and the same module. (importlib's LazyLoader
    would load at the second `import NAME`, which looks at `__spec__`.)
    """
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    # Without a path, a submodule's import asks for it, and thereby loads the package first.
    path = module.__dict__.pop("__path__", None)
    module.__dict__["__getattr__"] = _Filling(module, spec, path)
    sys.modules[name] = module


class _Filling:
    """A module's `__getattr__` (PEP 562) that loads the module, once, for whichever thread asks."""

    def __init__(self, module: ModuleType, spec: ModuleSpec, path: Any) -> None:
        self._module, self._spec, self._path = module, spec, path
        self._lock = threading.RLock()
        self._begun = False

    def __call__(self, attribute: str) -> Any:
        with self._lock:  # other threads wait here until the module is whole
            if not self._begun:
                self._begun = True
                self._load()
        found = self._module.__dict__.get(attribute, self)
        if found is not self:
            return found
        own = self._module.__dict__.get("__getattr__")
        if own is not None and own is not self:
            return own(attribute)
        raise AttributeError(f"module {self._module.__name__!r} has no attribute {attribute!r}")

    def _load(self) -> None:
        if self._path is not None:
            self._module.__dict__["__path__"] = self._path
        assert self._spec.loader is not None
        try:
            self._spec.loader.exec_module(self._module)
        except BaseException:
            sys.modules.pop(self._module.__name__, None)
            raise
        if self._module.__dict__.get("__getattr__") is self:
            del self._module.__dict__["__getattr__"]
