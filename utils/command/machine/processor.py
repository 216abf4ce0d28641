"""What the processor calls itself."""

from __future__ import annotations

import platform
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")


def processor_name() -> str:
    """Model, family and number of the first core's processor, as the system tells them."""
    try:
        text = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    first = text.partition("\n\n")[0]
    lines = (line.partition(":") for line in first.splitlines())
    told = {name.strip(): value.strip() for name, _, value in lines}
    parts = [told.get("model name", platform.machine())]
    parts += [f"{name} {told[name]}" for name in ("cpu family", "model") if name in told]
    return ", ".join(parts)
