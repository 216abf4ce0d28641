"""A module that loads when it is first used, for code that can do much without it.

`importlib.util.LazyLoader` does not serve. It loads the module as soon as a second `import` of it
runs, since that asks for its `__spec__`; up to Python 3.11 another thread can see it half loaded;
and `import torch.nn`, where that is the first use, runs torch/nn/__init__.py twice, as does
anything else that puts a module which is still empty into sys.modules. Here sys.modules holds
modules that are loaded, and nothing else; imports elsewhere are what they always are.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def postponed(name: str) -> Any:
    """The module if it is loaded, else what stands for it until its first use.

    Where the module is missing, that use raises an ordinary ImportError.
    """
    return sys.modules.get(name) or Postponed(name)


class Postponed:
    """Stands for a module; whatever is asked of it is asked of the module, which loads for it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        module = importlib.import_module(self._name)
        self._make_way_for(module)
        return getattr(module, attribute)

    def _make_way_for(self, module: Any) -> None:
        """Put the module itself where modules have this in its place: later uses cost nothing."""
        for user in list(sys.modules.values()):
            names = getattr(user, "__dict__", {})
            if names.get(self._name) is self:
                names[self._name] = module
