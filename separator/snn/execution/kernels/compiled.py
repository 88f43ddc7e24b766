"""Compilation of kernels."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile


def compiled(function: Any) -> Any:
    """Compile `function`, once for all if there is a place to keep it, else once for each process.

    It is compiled anew when a file in its folder or in this one changes. numba looks at the function's own file only, but names
    the file that it keeps after the function; so that name says what all of them were.
    """
    folders = Path(function.__code__.co_filename).parent, Path(__file__).parent
    sources = sorted({source for folder in folders for source in folder.glob("*.py")})
    function.__qualname__ += f"_{sha256(b''.join(source.read_bytes() for source in sources)).hexdigest()[:16]}"
    dispatcher = njit(nogil=True, no_cfunc_wrapper=True)(function)
    with suppress(RuntimeError, OSError):  # no folder for the cache can be written to
        dispatcher._cache = _Cache(function)
    return dispatcher


class _Cache(FunctionCache):  # type: ignore[misc]
    """numba's files of compiled code; what is damaged or cannot be kept is compiled anew."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self._cache_file = _SealedFile(self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Compiled code; None where there is none that can be used."""
        with suppress(Exception):  # whatever unpickling and linking find wrong
            return super().load_overload(sig, target_context)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep compiled code, if that is possible."""
        with suppress(OSError):
            super().save_overload(sig, data)


class _SealedFile(IndexDataCacheFile):  # type: ignore[misc]
    """Index and code with check sums at their ends, which unpickling passes over: damaged code would run all the same."""

    @contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[BytesIO]:
        with super()._open_for_write(filepath) as file:
            content = BytesIO()
            yield content
            file.write(content.getvalue() + sha256(content.getvalue()).digest())

    def _load_index(self) -> Any:
        return super()._load_index() if _is_whole(self._index_path) else {}

    def _load_data(self, name: str) -> Any:
        path = self._data_path(name)
        if not _is_whole(path):
            raise OSError(f"{path} is damaged")  # which numba takes for a file that is gone
        return super()._load_data(name)


def _is_whole(path: str) -> bool:
    try:
        content = Path(path).read_bytes()
    except OSError:
        return False
    size = sha256().digest_size
    return content[-size:] == sha256(content[:-size]).digest()
