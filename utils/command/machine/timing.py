"""How long a forward pass takes: warm, alone, and with its spread."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch


class Latency(NamedTuple):
    """Milliseconds of one call: the median, and the range that 8 of 10 calls fall into."""

    median_ms: float
    p10_ms: float
    p90_ms: float


def time_forward_ms(
    fn: Callable[[], object], runs: int = 30, warmup: int = 5, most_s: float = math.inf
) -> Latency:
    """Time `fn()`, a forward pass on an input that is there already (see `call_times_ms`)."""
    return _latency(call_times_ms(fn, runs, warmup, most_s))


def _latency(times_ms: Sequence[float]) -> Latency:
    p10, median, p90 = np.percentile(times_ms, (10, 50, 90))
    return Latency(float(median), float(p10), float(p90))


def time_alternately_ms(
    calls: Sequence[Callable[[], object]],
    runs: int,
    warmup: int,
    most_s: float,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Latency]:
    """Latency of each of some calls, timed in turns: what slows the machine slows all of them.

    One after the other, other work on the machine could make the smaller of two networks look the
    slower one. Of each, `warmup` calls do not count; after `most_s` seconds no further round is
    begun, but for one to warm up and one that counts. `clock` counts seconds: time.process_time
    those of this process alone, to which waiting for a processor adds nothing.
    """
    times_ms: list[list[float]] = [[] for _ in calls]
    with torch.no_grad():
        deadline = time.perf_counter() + most_s
        for number in range(warmup + runs):
            late = time.perf_counter() > deadline
            if late and number > 0 and times_ms[0]:
                break
            for found, call in zip(times_ms, calls, strict=True):
                spent_ms = _call_ms(call, clock)
                if number >= warmup or (late and number > 0):
                    found.append(spent_ms)
    return [_latency(found) for found in times_ms]


def call_times_ms(
    fn: Callable[[], object], runs: int = 30, warmup: int = 5, most_s: float = math.inf
) -> list[float]:
    """Milliseconds of each of `runs` calls of `fn()`.

    The first `warmup` calls (memory, kernels, clocks) do not count. After `most_s` seconds no
    further call is begun, but for one to warm up and two that count (one, where a single call takes
    more than half of it). Work that CUDA has only
    queued is waited for. Raises ValueError when there is nothing to time.
    """
    if runs < 1:
        raise ValueError(f"runs must be at least 1, got {runs}")
    with torch.no_grad():
        deadline = time.perf_counter() + most_s
        for k in range(warmup):
            if k == 0 or time.perf_counter() < deadline:
                fn()
        least = 2 if time.perf_counter() < deadline - most_s / 2 else 1
        times_ms: list[float] = []
        while len(times_ms) < runs and (len(times_ms) < least or time.perf_counter() < deadline):
            times_ms.append(_call_ms(fn))
    return times_ms


def synchronize() -> None:
    """Wait for what CUDA has queued; nothing to wait for on a CPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _call_ms(fn: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    synchronize()
    start = clock()
    fn()
    synchronize()
    return (clock() - start) * 1e3
