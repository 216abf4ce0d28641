"""torch, for modules that can do much without tensors: it takes longer to load than all of ours.

    from ..command.later import torch

is `import torch` put off to the first use of `torch` in any of them. later.pyi tells mypy that this
is the module itself.
"""

from __future__ import annotations

from .lazy import postponed

torch = postponed("torch")
