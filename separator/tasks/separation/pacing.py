"""Threads of a process that separates: as few as keep up with live sound, and of files as many as there are idle cores."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

from separator.parallel import THREAD_LIMITS, cores, idle_cores

Block = TypeVar("Block")

LATE = 0.9  # time of computing over that of the sound, from which one more thread is taken
LOOKED_AT = 2.0  # s of sound, over which that is measured


def leave_busy_cores() -> None:
    """Compute on idle cores only, unless the environment tells how many threads there are."""
    if not any(name in os.environ for name in THREAD_LIMITS):
        torch.set_num_threads(min(torch.get_num_threads(), idle_cores()))


def keeping_up(
    blocks: Iterable[Block], done: Callable[[], tuple[float, float]], threads: int = 1, most: int | None = None
) -> Iterator[Block]:
    """Pass blocks on, computed by one thread and by more where that falls behind the sound.

    Small blocks gain nothing by threads, and as many streams as cores would wait for each other's.

    Args:
        blocks: of sound.
        done: seconds of sound that were separated, and that this took.
        threads: to begin with.
        most: the cores there are if None.
    """
    most = cores() if most is None else most
    torch.set_num_threads(threads)
    sound, took = done()
    for block in blocks:
        yield block
        sound_now, took_now = done()
        if sound_now - sound < LOOKED_AT:
            continue
        if took_now - took > LATE * (sound_now - sound) and threads < most:
            threads += 1
            torch.set_num_threads(threads)
        sound, took = sound_now, took_now
