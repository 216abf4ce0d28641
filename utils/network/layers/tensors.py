"""torch's types by short names, for annotations: here `torch` is postponed, and stays so.

What is to be built or tested at run time is torch's own: `torch.nn.Module()`.
"""

from __future__ import annotations

from typing import TypeAlias

import torch

Tensor: TypeAlias = "torch.Tensor"
Module: TypeAlias = "torch.nn.Module"
