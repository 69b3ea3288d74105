"""Freed memory stays with the process, where glibc would give each large tensor's back at once.

The next tensor is then put where the last one was, instead of on new pages that the system fills with zeros at the
first touch: 6 to 9 % of a training step on a CPU (`docs/log.md`, 2026-11-28).
"""

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGE = (2**30, 2**25)
"""Bytes, the second where glibc is too old for the first: larger tensors are still given back, and as much may lie
unused at the end of the heap.
"""


def keep_freed_memory() -> None:
    """Asks glibc for it, unless the environment says something about that already; other systems are left alone."""
    if sys.platform != "linux" or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda what, value: 0)
    if taken := next((size for size in _LARGE if mallopt(_MMAP_THRESHOLD, size)), 0):
        mallopt(_TRIM_THRESHOLD, taken)
