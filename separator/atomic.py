"""Files that are either whole or absent.

By hand: `atomicwrites` is no longer kept up, and gives open files where writers of sound, pictures and models want a path.
"""

import csv
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from separator.errors import UserError


def make_folder(folder: str | Path) -> None:
    """Make a folder and its parents, unless it is there.

    Raises:
        UserError: it cannot be made.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UserError(f"cannot make the folder {folder}: there is a file of that name") from error
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror or error}") from error


@contextmanager
def atomic_path(path: str | Path, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there when the block succeeds, remove it when it fails.

    If it shall be durable, it is on the disk before it takes the place of a former one, so that a crash of the machine leaves
    one of the two whole.

    The temporary file keeps the suffix of `path`, since writers choose the format by it. Parent folders are made.

    Raises:
        UserError: the folder cannot be made or written, or the disk is full.
    """
    path = Path(path)
    # Named before it is made, so that Ctrl-C at any moment finds what to remove.
    temporary = path.with_name(f".{secrets.token_hex(4)}{path.suffix[-40:]}")  # short: a name may be as long as is allowed
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        yield temporary
        if durable:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: str | Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a table, at least one row of the same columns each, as CSV in UTF-8, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
