"""Work spread over threads.

Not numba's own: the threads of its OpenMP layer wait by spinning, each on a core of its own, while torch computes.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

SHARES = 4  # of the work for each thread, so that none waits long for the slowest; each costs some 50 us


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "kernels")


def in_threads(work: Callable[[int, int], None], jobs: int, threads: int) -> None:
    """Call `work` on ranges (first, last) that together are all `jobs`; it must let go of Python's lock to gain by it."""
    if threads == 1 or jobs == 1:
        work(0, jobs)
        return
    parts = min(jobs, SHARES * threads)
    bounds = [jobs * i // parts for i in range(parts + 1)]
    for _ in _pool(threads).map(work, bounds[:-1], bounds[1:]):
        pass
