"""A folder of results has one writer at a time."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from errno import ENOSYS
from pathlib import Path

from filelock import FileLock, Timeout

from separator.atomic import make_folder
from separator.errors import UserError

LOCK = ".lock"
PATIENCE = 5.0  # s, in which the processes of a writer that was killed come to their end
HALF = re.compile(r"\.[0-9a-f]{8}(\..*)?")  # what `atomic_path` has not finished


@contextmanager
def sole_writer(folder: str | Path, beneath: Iterable[Path] = ()) -> Iterator[None]:
    """Make a folder, and have no other process write results into it until the block ends, or this process does.

    What a writer that was killed left half written in it is removed.

    Args:
        folder: of the results.
        beneath: folders in it that results lie in as well, whether they are there yet or not.

    Raises:
        UserError: another process writes there, or the folder cannot be made or written.
    """
    folder = Path(folder)
    make_folder(folder)
    lock = FileLock(folder / LOCK, timeout=PATIENCE, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(f"another process writes into {folder}; wait for its end, or take another folder") from error
    except OSError as error:
        if error.errno != ENOSYS:  # file systems without locks are none the worse for it
            raise UserError(f"cannot write into {folder}: {error.strerror or error}") from error
    try:
        for place in (folder, *filter(Path.is_dir, beneath)):
            _remove_halves(place)
        yield
    finally:
        # While it is held: who waits for it notices, and makes another one.
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()


def _remove_halves(folder: Path) -> None:
    for path in folder.iterdir():
        if HALF.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()
