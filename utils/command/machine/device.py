"""The device that a command computes on."""

from __future__ import annotations

import torch

from ..errors import UserError


def pick_device(name: str) -> torch.device:
    """Device of a `--device` flag: '' picks CUDA when there is one, else the CPU."""
    if not name:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(f"cuda:{name}" if name.isdigit() else name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {name}: not usable here ({reason})") from None
    return device
