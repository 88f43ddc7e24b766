"""Which execution simulates spiking layers; all of them fire the same spikes."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

# The fastest one there is for a layer on this machine, or all time steps folded into the batch of a dense layer in floating
# point: no event-driven kernel, no products of 8-bit integers. The dense one is what the others are measured against.
Execution = Literal["fastest", "dense"]

_chosen: ContextVar[Execution] = ContextVar("execution", default="fastest")


def chosen_execution() -> Execution:
    """The execution that layers run by now."""
    return _chosen.get()


@contextmanager
def execution(name: Execution) -> Iterator[None]:
    """Within, all spiking layers that this thread runs, those of networks under conversion included, run by this execution."""
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)
