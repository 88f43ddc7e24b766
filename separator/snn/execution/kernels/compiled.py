"""How kernels are compiled."""

from hashlib import sha256
from pathlib import Path
from typing import Any

from numba import njit


def compiled(function: Any) -> Any:
    """Compile `function`, once for all if there is a place to keep it, else once for each process.

    It is compiled anew when a file in its folder changes. numba looks at the function's own file only, but names the file that
    it keeps after the function; so that name says what all of them were.
    """
    sources = sorted(Path(function.__code__.co_filename).parent.glob("*.py"))
    function.__qualname__ += f"_{sha256(b''.join(source.read_bytes() for source in sources)).hexdigest()[:16]}"
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder for the cache can be written to
        return njit(nogil=True)(function)
