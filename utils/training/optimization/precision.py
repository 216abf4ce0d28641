"""Mixed precision by torch.amp: what `--amp` means on a device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from .options import Amp

_CPU_INFO = Path("/proc/cpuinfo")
_BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
_FIRST_BF16_GPU = (8, 0)  # compute capability; older cards only emulate it


@dataclass(frozen=True)
class Precision:
    """The type that convolutions run in; weights, losses and the optimizer stay in float32."""

    device_type: str
    dtype: torch.dtype  # torch.float32: no autocast

    def autocast(self) -> torch.autocast:
        """Context for the forward pass."""
        reduced = self.dtype != torch.float32
        # Any valid type will do for a context that is off.
        return torch.autocast(self.device_type, self.dtype if reduced else None, enabled=reduced)

    def scaler(self) -> torch.amp.GradScaler:
        """Loss scaling, which float16 needs and the others pass through."""
        return torch.amp.GradScaler(self.device_type, enabled=self.dtype == torch.float16)


def resolve_precision(amp: Amp, device: torch.device) -> Precision:
    """`auto`: bfloat16 where the hardware has it, float16 on older GPUs, float32 elsewhere."""
    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16, "off": torch.float32}
    return Precision(device.type, dtypes[amp] if amp != "auto" else _fastest(device))


def _fastest(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        new = torch.cuda.get_device_capability(device) >= _FIRST_BF16_GPU
        return torch.bfloat16 if new else torch.float16
    return torch.bfloat16 if device.type == "cpu" and cpu_has_bf16() else torch.float32


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 (Linux; elsewhere the answer is no)."""
    if not _CPU_INFO.exists():
        return False
    lines = _CPU_INFO.read_text(errors="replace").splitlines()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return bool(_BF16_FLAGS & set(flags.split()))
