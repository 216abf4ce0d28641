"""Keep freed memory in the process, so that the same pages are not fetched over and over.

glibc gives every large block back to the system when it is freed. A training step, or a forward
pass, frees and allocates the same activations again and again, and the page faults cost a fifth of
its time (`benchmarks/train_step.py` measures it).
"""

from __future__ import annotations

import ctypes
import sys

# Parameters of mallopt(3), from <malloc.h>.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_NEVER_TRIM = 2**31 - 1
_GROWTH_BYTES = 64 << 20


def keep_freed_memory() -> bool:
    """Tell the C library to reuse memory; False where that is not glibc."""
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER_TRIM), (_M_TOP_PAD, _GROWTH_BYTES))
    accepted = [library.mallopt(name, value) == 1 for name, value in settings]
    return all(accepted)
