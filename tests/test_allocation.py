import os
import platform
import subprocess
import sys

import pytest

# Pages that the system gives while a block of 64 MB, larger than what glibc ever keeps by itself, comes and goes ten times.
COUNT = """
import ctypes, resource, sys
from separator.allocation import keep_freed_memory
kept = keep_freed_memory() if "keep" in sys.argv else None
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.memset.argtypes, library.free.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t], [ctypes.c_void_p]
def work():
    block = library.malloc(2**26)
    library.memset(block, 1, 2**26)
    library.free(block)
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    work()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def counted(*arguments, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | variables
    kept, pages = subprocess.run(
        [sys.executable, "-c", COUNT, *arguments], env=environment, check=True, capture_output=True, text=True
    ).stdout.split()
    return kept, int(pages)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")
def test_freed_memory_serves_what_comes():
    (_, before), (kept, after) = counted(), counted("keep")
    assert kept == "True" and after < before / 10 and before > 100


def test_settings_of_the_environment_are_left_alone():
    assert counted("keep", MALLOC_ARENA_MAX="4")[0] == "False"
    assert counted("keep", GLIBC_TUNABLES="glibc.malloc.mmap_max=1000")[0] == "False"
    assert counted("keep", GLIBC_TUNABLES="glibc.pthread.rseq=0")[0] != "False" or platform.libc_ver()[0] != "glibc"
