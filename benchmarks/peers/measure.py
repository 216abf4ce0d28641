"""How a piece of work is timed on either side; both sides' processes import this file alone.

It needs the standard library only, since the peers' interpreter has none of darkslim's packages.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Seconds = dict[str, float]  # "wall" and "cpu": of all threads of the process, user and system


def timed(call: Callable[[], object]) -> Seconds:
    """How long a call takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def repeated(call: Callable[[], object], warmup: int, runs: int) -> list[Seconds]:
    """The times of `runs` calls after `warmup` that do not count."""
    for _ in range(warmup):
        call()
    return [timed(call) for _ in range(runs)]


def say(seconds: list[Seconds], **more: Any) -> None:
    """Hand the times to the process that asked: the last line of stdout."""
    print("\n" + json.dumps({"seconds": seconds, **more}), flush=True)


def material(folder: str) -> dict[str, Any]:
    """What `run.py` has prepared, by name."""
    found: dict[str, Any] = json.loads((Path(folder) / "material.json").read_text("utf-8"))
    return found
