"""The same work on many files, on all cores, with a progress bar."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from tqdm import tqdm

from separator.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 8  # items handed to a process at a time


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _results(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    if workers <= 1 or len(items) <= CHUNK:
        yield from map(function, items)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _leave_interrupts_to_parent) as pool:
        try:
            yield from pool.map(function, items, chunksize=CHUNK)
        except BrokenProcessPool:
            raise UserError("a worker process was killed, perhaps for lack of memory; use fewer --jobs") from None


def parallel_map(function: Callable[[Item], Result], items: Iterable[Item], workers: int, description: str) -> list[Result]:
    """Apply `function`, which must be importable, to each of `items` in `workers` processes; results in the order of `items`.

    The progress bar goes to stderr, and only to a terminal. The first exception ends the work and is raised.

    Raises:
        UserError: a worker was killed; and what `function` raises.
    """
    tasks = list(items)
    return list(tqdm(_results(function, tasks, workers), description, len(tasks), unit="file", disable=None, leave=False))
