"""Paths of sources, and records of what they were made of; nothing is replaced, or taken for done, by mistake."""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from separator.audio.files import STANDARD_STREAM, read_comment
from separator.errors import UserError
from separator.version import __version__

MARK = "separator "  # what our comments in wav files begin with
REMEDY = "overwrite (--overwrite) replaces it"


@dataclass(frozen=True)
class Origin:
    """Facts that the samples of a source depend on."""

    input: str  # fingerprint of the mixture's file
    model: str  # its name
    weights: str  # fingerprint of the network
    window: int | None  # of a spiking network
    level: str
    clip: str
    samples: str  # such as 16-bit integers
    shifts: int = 1  # which files made before there were any do not state

    def to_comment(self) -> str:
        """Text for a wav file."""
        return MARK + json.dumps(asdict(self) | {"version": __version__})


def output_paths(source: str | Path, output_dir: str | Path | None, n_src: int) -> list[Path]:
    """Paths of the sources of `source`, `NAME_s1.wav` and so on; none for stdout."""
    standard = source == STANDARD_STREAM
    if output_dir == STANDARD_STREAM or (standard and output_dir is None):
        return []
    path = Path("stdin" if standard else source)
    folder = path.parent if output_dir is None else Path(output_dir)
    return [folder / f"{path.stem}_s{number}.wav" for number in range(1, n_src + 1)]


def refuse_existing(paths: Iterable[Path]) -> None:
    """Raise a UserError if one of the files exists."""
    for path in paths:
        if path.exists():
            raise UserError(f"{path} exists; {REMEDY}")


def refuse_others(paths: Iterable[Path], origin: Origin) -> None:
    """Raise a UserError if one of the files exists and is of another origin, or of none that is known."""
    for path in filter(Path.exists, paths):
        found = _origin_in(path)
        if found is None:
            raise UserError(f"{path} exists; {REMEDY}")
        found.setdefault("shifts", Origin.shifts)
        now = asdict(origin)
        differing = [name for name in now if found.get(name) != now[name]]
        if differing:
            reasons = ", ".join(
                _difference(name, found.get(name), now[name]) for name in differing if _is_told(name, differing)
            )
            raise UserError(f"{path} exists and was made otherwise ({reasons}); {REMEDY}, or take another -o")


def _origin_in(path: Path) -> dict[str, Any] | None:
    """Origin that a wav file states; None if it states none."""
    comment = read_comment(path)
    with suppress(ValueError):
        found = json.loads(comment.removeprefix(MARK)) if comment.startswith(MARK) else None
        return found if isinstance(found, dict) else None
    return None


def is_output(path: Path) -> bool:
    """True if a file is a source that was separated before, which its comment says."""
    return path.suffix == ".wav" and read_comment(path).startswith(MARK)


def _is_told(name: str, differing: list[str]) -> bool:
    return name != "weights" or not {"model", "window"} & set(differing)


def _difference(name: str, before: Any, now: Any) -> str:
    if name in ("input", "weights"):  # whose fingerprints say nothing to a person
        return "another input" if name == "input" else "other weights of the model"
    return f"{name.replace('_', ' ')} was {before} and is {now}"


class Claims:
    """Names of files that inputs have and that their outputs get, so that none is written over."""

    def __init__(self, sources: Iterable[str]) -> None:
        self._taken = {os.path.realpath(source): source for source in sources}

    def claim(self, source: str, paths: Iterable[Path]) -> None:
        """Note the outputs of an input.

        Raises:
            UserError: one of them is an input, or another input's output.
        """
        names = {os.path.realpath(path): path for path in paths}
        for name, path in names.items():
            if (taker := self._taken.get(name)) is not None:
                is_output = os.path.realpath(taker) != name
                remedy = "separate one of the two by itself, with another -o" if is_output else "use another -o"
                raise UserError(f"{path}, an output of {source}, is taken by {taker}; {remedy}")
        self._taken.update(dict.fromkeys(names, source))
