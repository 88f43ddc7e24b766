"""Mixture lists in the format of WSJ0-2mix: per line, each source's wav path and its gain in dB."""

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from math import isfinite
from pathlib import Path
from typing import TypeVar

from separator.atomic import write_text
from separator.corpora.mixing import mixture_id, print_gain
from separator.errors import UserError

T = TypeVar("T")

MAX_SNR = 5.0  # dB between the first source and the second


@dataclass(frozen=True)
class ListEntry:
    """One mixture: its sources by path under the corpus root, and their gains."""

    paths: tuple[str, ...]
    gains_db: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.gains_db) or len(self.paths) < 2:
            raise ValueError(f"a mixture needs two or more sources, each with a gain, not {self.paths} with {self.gains_db}")

    @property
    def id(self) -> str:
        """Name of the mixture without suffix, as in the published sets."""
        return mixture_id(self.paths, self.gains_db)

    def __str__(self) -> str:
        pairs = zip(self.paths, map(print_gain, self.gains_db), strict=True)
        return "".join(f"{field} " for field in chain.from_iterable(pairs))  # the official lines end in a space


@dataclass(frozen=True)
class MixtureList:
    """The mixtures of one set (training, development or test)."""

    entries: tuple[ListEntry, ...]

    def __str__(self) -> str:
        return "".join(f"{entry}\n" for entry in self.entries)

    @property
    def sha256(self) -> str:
        """SHA-256 of the file that `write_list` writes."""
        return hashlib.sha256(str(self).encode()).hexdigest()


def _parse_entry(line: str) -> ListEntry:
    fields = line.split()
    if len(fields) % 2 or len(fields) < 4:
        raise ValueError("expected two or more paths, each followed by its gain in dB")
    gains = tuple(map(float, fields[1::2]))
    if not all(map(isfinite, gains)):
        raise ValueError("a gain is not a finite number")
    return ListEntry(tuple(fields[::2]), gains)


def read_list(path: str | Path) -> MixtureList:
    """Read a mixture list, such as the official `mix_2_spk_tt.txt`.

    Raises:
        UserError: the file cannot be read, has no lines, a malformed line, or lines with different numbers of sources.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"cannot read the mixture list {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a mixture list: it is not text") from None
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entries += [_parse_entry(line)] if line.strip() else []
        except ValueError as error:
            raise UserError(f"{path}, line {number}: {error}") from None
    if len({len(entry.paths) for entry in entries}) != 1:
        raise UserError(f"{path}: {'its lines have different numbers of sources' if entries else 'it is empty'}")
    if len(repeated := {entry.id for entry in entries}) != len(entries):
        raise UserError(f"{path}: {len(entries) - len(repeated)} of its mixtures come twice")
    return MixtureList(tuple(entries))


def write_list(mixtures: MixtureList, path: str | Path) -> None:
    """Write a mixture list in the official format.

    Raises:
        UserError: the file cannot be written.
    """
    write_text(path, str(mixtures))


def _count_pairs(speakers: Iterable[str]) -> int:
    """Count the pairs of utterances by different speakers; `speakers` holds the speaker of each utterance."""
    return sum(a * b for a, b in combinations(Counter(speakers).values(), 2))


def make_list(speaker_of: Mapping[str, str], count: int, seed: int) -> MixtureList:
    """Draw two-speaker mixtures by the protocol of WSJ0-2mix, each pair of utterances at most once.

    Two different speakers are drawn uniformly, then an utterance of each; the SNR is uniform in 0..5 dB and split between
    the two, so the first is never the weaker one. Only `random.Random.random` is used, whose sequence Python guarantees:
    the list is the same on any machine.

    Args:
        speaker_of: speaker of each utterance, by its path under the corpus root; the order of the mapping does not matter.
        count: number of mixtures.
        seed: of the draw.

    Raises:
        UserError: the corpus has fewer pairs of utterances by different speakers than `count`, or a path with white space,
            which lists cannot tell from the gain behind it.
    """
    if spaced := next((path for path in speaker_of if len(path.split()) != 1), None):
        raise UserError(f"mixture lists take no path with white space, such as '{spaced}'; rename it in wav.scp and on disk")
    available = _count_pairs(speaker_of.values())
    if count > available:
        raise UserError(
            f"cannot draw {count} mixtures: the corpus has only {available} pairs of utterances by different speakers"
        )
    by_speaker: dict[str, list[str]] = {speaker: [] for speaker in sorted(set(speaker_of.values()))}
    for path in sorted(speaker_of):
        by_speaker[speaker_of[path]].append(path)
    draw = random.Random(seed).random

    def choose(choices: Sequence[T]) -> T:
        return choices[int(draw() * len(choices))]

    entries: dict[frozenset[str], ListEntry] = {}
    while len(entries) < count:
        speakers = [choose(list(by_speaker)) for _ in range(2)]
        if speakers[0] == speakers[1]:
            continue
        first, second = (choose(by_speaker[speaker]) for speaker in speakers)
        gain = float(print_gain(draw() * MAX_SNR / 2))
        entries.setdefault(frozenset((first, second)), ListEntry((first, second), (gain, -gain)))
    return MixtureList(tuple(entries.values()))
