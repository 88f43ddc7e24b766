"""Work spread over processes, some of which may die."""

import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache, partial
from itertools import chain, islice
from multiprocessing import forkserver, get_all_start_methods, get_context, parent_process, resource_tracker
from operator import length_hint
from pathlib import Path
from statistics import median
from threading import Thread
from time import sleep
from typing import Any, TypeVar

from tqdm import tqdm

from separator.errors import UserError

Item = TypeVar("Item")
Job = TypeVar("Job")
Result = TypeVar("Result")

FEW = 8  # items that are not worth starting processes for
QUEUED = 3  # jobs in flight for each process: enough that none waits, few enough that their signals fit in memory
# How processes are started: not forked from this one, whose networks' threads would not survive that, but from a server.
METHOD = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
LOOKS, BETWEEN_LOOKS = 7, 0.003  # at what else runs, which comes and goes; s
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def idle_cores() -> int:
    """Cores that this process may use and that nothing else computes on, at least one; all of them where that is not told.

    Threads that share their work wait for the one that another program keeps from its core: of a busy machine one core takes
    less time than two.
    """
    others = []
    for _ in range(LOOKS):
        running = _running()
        if running is None:
            return cores()
        others.append(running - 1)  # but for this thread, which looks
        sleep(BETWEEN_LOOKS)
    return max(1, min(cores(), (os.cpu_count() or 1) - round(median(others))))


def _running() -> int | None:
    """Threads of the machine that run now or wait for a core; None if it does not tell."""
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return None


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, description: str, count: int | None = None
) -> list[Result]:
    """Apply `function`, which must be importable, to each of `items` in `workers` processes; results in the order of `items`.

    Items are taken from the iterable a few ahead of the workers. The progress bar goes to stderr, and only to a terminal; it
    counts to `count`, to the length of `items` where they have one. The first exception ends the work and is raised.

    Raises:
        UserError: a worker was killed; and what `function` raises.
    """
    tasks = enumerate(items)
    first = list(islice(tasks, FEW + 1))
    work, all_tasks = partial(_numbered, function), chain(first, tasks)
    alone = workers <= 1 or len(first) <= FEW
    done = ((task, work(task)) for task in all_tasks) if alone else map_surviving(work, all_tasks, workers)
    results: dict[int, Result] = {}
    total = count or length_hint(items) or None
    for _, (number, result) in tqdm(done, description, total, unit="file", disable=None, leave=False):
        results[number] = result
    return [results[number] for number in range(len(results))]


def map_surviving(work: Callable[[Job], Result], jobs: Iterable[Job], processes: int) -> Iterator[tuple[Job, Result]]:
    """As `map_unordered`, where no process may die.

    Raises:
        UserError: one did.
    """
    for job, result in map_unordered(work, jobs, processes):
        if result is None:
            raise UserError("a worker process was killed, perhaps for lack of memory; use fewer --jobs")
        yield job, result


def _numbered(function: Callable[[Item], Result], task: tuple[int, Item]) -> tuple[int, Result]:
    number, item = task
    return number, function(item)


def map_unordered(work: Callable[[Job], Result], jobs: Iterable[Job], processes: int) -> Iterator[tuple[Job, Result | None]]:
    """Run `work` on each job in other processes; yield results as they come, each with its job.

    Jobs are taken from the iterable a few ahead of the workers. A process that dies (a crash in a library, or no memory left)
    takes the others' unfinished work with it: those jobs are run again, one at a time. The result of a job whose own process
    dies then is None. Exceptions of `work` are raised here.

    Args:
        work: a function of a module, since other processes find it by its name.
        jobs: picklable.
        processes: how many of them work at a time.
    """
    remaining = iter(jobs)
    while lost := (yield from _run(work, remaining, processes)):
        for job in lost:
            if (yield from _run(work, iter([job]), 1)):
                yield job, None


def _run(
    work: Callable[[Job], Result], jobs: Iterator[Job], processes: int
) -> Generator[tuple[Job, Result | None], None, list[Job]]:
    """Run jobs until there are none or a process dies; returns the jobs that were under way then."""
    pending: dict[Future[Result], Job] = {}
    with _executor(processes, _module_of(work)) as executor:
        try:
            while True:
                for job in islice(jobs, QUEUED * processes - len(pending)):
                    submitted = _submit(executor, work, job)
                    if submitted is None:
                        return [*pending.values(), job]
                    pending[submitted] = job
                if not pending:
                    return []
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    yield pending.pop(future), result
        except BrokenProcessPool:
            return list(pending.values())
        finally:
            executor.shutdown(cancel_futures=True)


def _submit(executor: ProcessPoolExecutor, work: Callable[[Job], Result], job: Job) -> Future[Result] | None:
    """None where the pool is already known to be broken."""
    try:
        return executor.submit(work, job)
    except BrokenProcessPool:
        return None


def _module_of(work: Callable[..., Any]) -> str:
    """Module of the function that does the work in the end."""
    while isinstance(work, partial):
        work = work.args[0] if work.func is _numbered else work.func
    return work.__module__


@contextmanager
def _executor(processes: int, module: str) -> Iterator[ProcessPoolExecutor]:
    """Processes of one thread each, which leave Ctrl-C to their parent; their server has imported the module."""
    before = {name: os.environ.get(name) for name in THREAD_LIMITS}
    os.environ.update(dict.fromkeys(THREAD_LIMITS, "1"))
    try:
        if METHOD == "forkserver":
            _start_server(module)
        with ProcessPoolExecutor(processes, get_context(METHOD), initializer=_start_worker) as executor:
            yield executor
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@cache
def _start_server(module: str) -> None:
    """Start the process that workers are forked from, unless there is one, and wait for it: it imports for all of them, once.

    It ignores Ctrl-C only once it has imported the module, and gets to hear nothing of it until then.
    """
    forkserver.set_forkserver_preload(["__main__", module])
    resource_tracker.ensure_running()  # whose start would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    # Were this process interrupted while a worker waits to be forked, the worker would look for queues that are gone by then.
    first = get_context("forkserver").Process(target=_nothing)
    first.start()
    first.join()


def _nothing() -> None:
    pass


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End this process when its parent has been killed; it would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def leave_with_parent_alone(_: int) -> None:
    """What a worker of a DataLoader begins with: a kill of all its group is its parent's to tell, and it leaves with that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
