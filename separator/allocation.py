"""The C library's memory: kept for tensors to come, or given back to the system."""

import ctypes
import os
from contextlib import suppress

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # names of glibc's settings, see mallopt(3)
KEPT = 2**31 - 1  # bytes at the end of its memory that are free and kept, as many as an `int` says
AHEAD = 2**28  # bytes that are asked for at a time


def keep_freed_memory() -> bool:
    """Have memory that tensors free serve those to come, and tell whether the C library can.

    Tensors of many megabytes are mapped into memory one by one else, and the system clears their pages each time, which took
    0.4 of the time of networks that learn through time. It is glibc that can, unless the environment has settings of its own.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        return all([mallopt(MMAP_MAX, 0), mallopt(TRIM_THRESHOLD, KEPT), mallopt(TOP_PAD, AHEAD)])
    return False


def give_back_freed_memory() -> None:
    """Give memory that was freed and kept back to the system, where the C library can."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
