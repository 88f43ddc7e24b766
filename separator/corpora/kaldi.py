"""Kaldi data folders: `wav.scp`, `utt2spk`, `spk2utt`, and optionally `spk2gender` and `utt2dur`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from separator.atomic import write_text
from separator.corpora.training.recordings import read_recording
from separator.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Utterance:
    """One recording of one speaker."""

    id: str
    speaker: str
    path: Path
    duration: float | None = None  # seconds


@dataclass(frozen=True)
class Corpus:
    """The utterances of a data folder, sorted by id."""

    folder: Path
    utterances: tuple[Utterance, ...]
    gender: Mapping[str, str] = field(default_factory=dict)  # speaker to "m" or "f", where known

    @cached_property
    def by_speaker(self) -> dict[str, tuple[Utterance, ...]]:
        """Utterances of each speaker, speakers sorted by name."""
        ordered = sorted(self.utterances, key=lambda utterance: (utterance.speaker, utterance.id))
        return {speaker: tuple(group) for speaker, group in groupby(ordered, key=lambda utterance: utterance.speaker)}


def _read_table(path: Path) -> dict[str, str]:
    """Key and rest of each line of a Kaldi text file.

    Raises:
        UserError: the file is missing or not text, a line has no value, or a key comes twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path.parent} is not a Kaldi data folder: {path.name} is missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'not a text file'}") from None
    table: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        parts = line.split(maxsplit=1)
        if not parts:
            continue
        if len(parts) == 1:
            raise UserError(f"{path}, line {number}: expected a name and a value, found only {line.strip()!r}")
        if parts[0] in table:
            raise UserError(f"{path}, line {number}: {parts[0]} comes twice")
        table[parts[0]] = parts[1].strip()
    return table


def _read_optional(path: Path) -> dict[str, str]:
    return _read_table(path) if path.exists() else {}


def _find_recording(folder: Path, value: str) -> Path | None:
    """Find what a `wav.scp` value names: absolute, or relative to the folder's parent, or to the folder itself."""
    candidates = (folder.parent / value, folder / value)  # an absolute value replaces the folder
    return next((path for path in candidates if path.is_file()), None)


def _parse(path: Path, table: Mapping[str, str], convert: Callable[[str], T]) -> dict[str, T]:
    """Convert every value; a value that cannot be converted is a `UserError` naming its key."""
    converted = {}
    for key, value in table.items():
        try:
            converted[key] = convert(value)
        except (ValueError, KeyError):
            raise UserError(f"{path}: {value!r} of {key} is not understood") from None
    return converted


def read_corpus(folder: str | Path) -> Corpus:
    """Read a Kaldi data folder.

    Paths of `wav.scp` may be absolute, relative to the parent of `folder`, or relative to `folder`; the first of these that
    exists is taken, line by line. `spk2utt` follows from `utt2spk` and is not read.

    Raises:
        UserError: a file is missing or malformed, recordings are missing, or there are fewer than two speakers.
    """
    folder = Path(folder).absolute()
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give a Kaldi data folder with wav.scp and utt2spk")
    if (folder / "segments").exists():
        raise UserError(f"{folder} has segments, which are not read; cut the recordings (Kaldi's extract-segments does)")
    recordings = _read_table(folder / "wav.scp")
    speakers = _read_table(folder / "utt2spk")
    durations = _parse(folder / "utt2dur", _read_optional(folder / "utt2dur"), float)
    letters = {"m": "m", "male": "m", "f": "f", "female": "f"}
    genders = _parse(folder / "spk2gender", _read_optional(folder / "spk2gender"), lambda value: letters[value.lower()])
    if lone := sorted(recordings.keys() ^ speakers.keys()):
        file = "utt2spk" if lone[0] in recordings else "wav.scp"
        raise UserError(f"{folder}: {len(lone)} utterances stand in only one of wav.scp and utt2spk; {file} lacks {lone[0]}")
    pipes = [name for name, value in recordings.items() if value.endswith("|")]
    if pipes:
        raise UserError(f"{folder}/wav.scp: {pipes[0]} is a command; write the recordings to files first")
    found = {name: _find_recording(folder, value) for name, value in recordings.items()}
    missing = [recordings[name] for name, path in found.items() if path is None]
    if missing:
        raise UserError(f"{folder}: {len(missing)} of {len(found)} recordings are missing, the first is {missing[0]}")
    if len(set(speakers.values())) < 2:
        raise UserError(f"{folder} has fewer than two speakers; mixtures need two different ones")
    utterances = (
        Utterance(name, speakers[name], path, durations.get(name)) for name, path in sorted(found.items()) if path is not None
    )
    return Corpus(folder, tuple(utterances), genders)


def _lines(rows: Iterable[tuple[str, object]]) -> str:
    return "".join(f"{key} {value}\n" for key, value in rows)


def write_corpus(corpus: Corpus) -> None:
    """Write the data folder `corpus.folder`, sorted as Kaldi wants it; `utt2dur` and `spk2gender` where all is known.

    Paths in `wav.scp` are relative to the folder's parent where the recordings lie below it, else absolute. `wav.scp` is
    written last, so a folder that has it is complete.

    Raises:
        UserError: a file cannot be written.
    """
    folder = corpus.folder.resolve()
    utterances = sorted(corpus.utterances, key=lambda utterance: utterance.id)
    write_text(folder / "utt2spk", _lines((utterance.id, utterance.speaker) for utterance in utterances))
    spk2utt = ((name, " ".join(utterance.id for utterance in group)) for name, group in corpus.by_speaker.items())
    write_text(folder / "spk2utt", _lines(spk2utt))
    if corpus.gender:
        write_text(folder / "spk2gender", _lines(sorted(corpus.gender.items())))
    durations = [(utterance.id, utterance.duration) for utterance in utterances]
    if all(duration is not None for _, duration in durations):
        write_text(folder / "utt2dur", _lines((name, f"{duration:.3f}") for name, duration in durations))
    paths = (utterance.path.resolve() for utterance in utterances)
    relative = (path.relative_to(folder.parent) if path.is_relative_to(folder.parent) else path for path in paths)
    write_text(folder / "wav.scp", _lines(zip((utterance.id for utterance in utterances), relative, strict=True)))


def read_utterance(utterance: Utterance, sample_rate: int) -> NDArray[np.float32]:
    """Read the recording of an utterance. Returns shape (T,), full scale 1.

    Raises:
        UserError: the file cannot be read, has another sample rate or more than one channel.
    """
    wave, rate = read_recording(utterance.path)
    if rate != sample_rate:
        raise UserError(
            f"{utterance.path} has {rate} Hz, not {sample_rate} Hz; resample the corpus, or give the network's sample rate"
        )
    return wave
