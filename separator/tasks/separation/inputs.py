"""Sound to be separated: files by name, and the sound files of folders without what was made of them."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from separator.audio.files import FOREIGN_SUFFIX, STANDARD_STREAM, SUFFIX
from separator.errors import UserError
from separator.tasks.separation.outputs import is_output


@dataclass(frozen=True)
class Job:
    """One input and the folder for its sources."""

    source: str
    output_dir: str | None  # None: beside the input, or stdout for stdin
    problem: str = ""  # why it cannot be separated, of a folder that cannot be read


def find_jobs(name: str, output: str | None, recursive: bool) -> list[Job]:
    """List what an argument stands for: itself, or with `recursive` the sound files of a folder, in order.

    A folder's structure is kept under `output`. Folders that cannot be read come last.

    Raises:
        UserError: the folder has no sound files, or `recursive` is not set.
    """
    if not name:
        raise UserError("an input has no name")
    folder = Path(name)
    if name == STANDARD_STREAM or not folder.is_dir():
        return [Job(name, output)]
    if not recursive:
        raise UserError(f"{name} is a folder; -r takes the sound files in it")
    failures: list[OSError] = []
    jobs = [
        Job(str(path), None if output is None else str(Path(output) / path.parent.relative_to(folder)))
        for path in sound_files(folder, None if output is None else Path(output), failures.append)
    ]
    jobs += [Job(str(error.filename), output, f"cannot read {error.filename}: {error.strerror}") for error in failures]
    if not jobs:
        raise UserError(f"there are no sound files to separate in {name}")
    return jobs


def sound_files(folder: Path, output: Path | None, tell: Callable[[OSError], None]) -> list[Path]:
    """Sound files under `folder`, sorted, without hidden ones and without earlier outputs of `separate`, which say so.

    Links to folders are followed, but for those to folders that are searched anyway; `tell` is called with the error of each
    folder that cannot be read.
    """
    # Not Path.resolve, which fails on links that go round in circles.
    root = Path(os.path.realpath(folder))
    own = None if output is None else Path(os.path.realpath(output))
    own = None if own in (root, *root.parents) else own
    found = [
        path
        for path in sorted(_entries(folder, tell))
        if (SUFFIX.fullmatch(path.suffix) or FOREIGN_SUFFIX.fullmatch(path.suffix))
        and (path.is_file() or _leads_nowhere(path))
        and (own is None or own not in Path(os.path.realpath(path)).parents)
    ]
    mixtures = {path.with_suffix("") for path in found}
    return [path for path in found if _mixture_of(path) not in mixtures and not is_output(path)]


def _entries(folder: Path, tell: Callable[[OSError], None]) -> Iterator[Path]:
    """All that lies under a folder and is no folder, but for what is hidden, once each."""
    searched: set[str] = set()
    waiting = [folder]  # links come after all folders that are none, whose names files then have
    for start in waiting:
        for name, folders, files in os.walk(start, onerror=tell):
            place, real = Path(name), os.path.realpath(name)
            folders[:] = [] if real in searched else sorted(inner for inner in folders if not inner.startswith("."))
            if real not in searched:
                searched.add(real)
                waiting += [place / inner for inner in folders if (place / inner).is_symlink()]
                yield from (place / file for file in files if not file.startswith("."))


def _leads_nowhere(path: Path) -> bool:
    """True if a path is a link to nothing or to itself, of which the user is to be told."""
    return path.is_symlink() and not path.exists()


def _mixture_of(path: Path) -> Path | None:
    """Name the mixture, without suffix, that a file `NAME_s1.wav` would have been separated from."""
    stem, mark, number = path.stem.rpartition("_s")
    return path.with_name(stem) if stem and mark and number.isdecimal() and path.suffix == ".wav" else None
