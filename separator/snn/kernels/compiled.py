"""How kernels are compiled."""

from typing import Any

from numba import njit


def compiled(function: Any) -> Any:
    """Compile `function`, once for all if there is a place to keep it, else once for each process."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder for the cache can be written to
        return njit(nogil=True)(function)
