"""Choice of the execution that simulates spiking layers; all of them fire the same spikes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# "fastest": the first of `separator.snn.execution.executions` that serves a pipelined layer on this machine, and products of
# 8-bit integers for layers that wait for all of their input; "event-driven": spike by spike; "dense": all time steps folded
# into the batch of a dense layer in floating point, which the others are measured against; or the name of another execution.
# Where one that is named does not serve, layers run as if it was "dense", with products of 8-bit integers.
FASTEST, EVENT_DRIVEN, DENSE = "fastest", "event-driven", "dense"

_chosen: ContextVar[str] = ContextVar("execution", default=FASTEST)


def chosen_execution() -> str:
    """The execution that layers run by now."""
    return _chosen.get()


def has_loaded_kernels() -> bool:
    """True if compiled loops serve on a CPU without numba being imported for them, which takes half a second."""
    return chosen_execution() != DENSE and "numba" in sys.modules


@contextmanager
def execution(name: str) -> Iterator[None]:
    """Within, all spiking layers that this thread runs, those of networks under conversion included, run by this execution."""
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)
