"""Kaldi data folders from LibriSpeech (OpenSLR 12) and speechocean762 (OpenSLR 101), both CC BY 4.0."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from separator.audio.files import write_flac
from separator.corpora.kaldi import Corpus, Utterance, read_corpus, write_corpus
from separator.corpora.mixing import resample_source
from separator.corpora.training.recordings import read_recording
from separator.errors import UserError
from separator.parallel import parallel_map
from separator.writer import sole_writer

TEST_SHARE = 1 / 8  # of the speakers
DEV_UTTERANCES = 2  # of a speaker
DEV_MINIMUM = 8  # utterances that a speaker of dev has in all, so that enough are left for training
SHORTEST = 1.5  # s, of a trimmed utterance
FRAME = 0.02  # s
MARGIN = 0.1  # s, kept before and after the speech
QUIET = 40.0  # dB below the loudest frame; quieter frames at the ends are silence

_Task = tuple[Utterance, Path]  # an utterance, and the file that it becomes


@dataclass(frozen=True)
class SourceCorpus:
    """Utterances of a corpus as it is published, and the gender of each speaker."""

    utterances: tuple[Utterance, ...]
    gender: dict[str, str]


def read_librispeech(root: str | Path) -> SourceCorpus:
    """Find the utterances of LibriSpeech, as unpacked, all its parts (`train-clean-100`, ...) below `root`.

    Args:
        root: the folder `LibriSpeech` with `SPEAKERS.TXT`, or the one that holds it.

    Raises:
        UserError: `SPEAKERS.TXT` or the recordings are missing, or it is damaged.
    """
    tables = [path / "SPEAKERS.TXT" for path in (Path(root), Path(root) / "LibriSpeech")]
    table = next((path for path in tables if path.is_file()), None)
    if table is None:
        raise UserError(f"{root} is not LibriSpeech: SPEAKERS.TXT is missing; give the unpacked folder LibriSpeech")
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{table} is damaged: it is not text; unpack LibriSpeech again") from None
    gender = dict(_speaker(line, table) for line in lines if line[:1] not in {";", ""})
    paths = sorted(table.parent.glob("*/*/*/*.flac"))
    if not paths:
        raise UserError(f"{table.parent} has no recordings; unpack train-clean-100.tar.gz there")
    utterances = (Utterance(f"ls{path.stem}", f"ls{path.stem.split('-')[0]}", path) for path in paths)
    return SourceCorpus(tuple(utterances), gender)


def _speaker(line: str, table: Path) -> tuple[str, str]:
    """Name and gender of a speaker, from a line of `SPEAKERS.TXT`."""
    name, _, rest = line.partition("|")
    gender = rest.partition("|")[0].strip().lower()
    if gender not in {"m", "f"}:
        raise UserError(f"{table} is damaged: the line {line!r} has no gender, M or F; unpack LibriSpeech again")
    return f"ls{name.strip()}", gender


def read_speechocean762(root: str | Path) -> SourceCorpus:
    """Read both parts, `train` and `test`, of speechocean762 as unpacked.

    Raises:
        UserError: it is not complete.
    """
    parts = [read_corpus(Path(root) / part) for part in ("train", "test")]
    utterances = (
        replace(utterance, id=f"so{utterance.id}", speaker=f"so{utterance.speaker}")
        for part in parts
        for utterance in part.utterances
    )
    return SourceCorpus(tuple(utterances), {f"so{name}": value for part in parts for name, value in part.gender.items()})


def split(utterances: Iterable[Utterance], limit: int | None, seed: int) -> dict[str, list[Utterance]]:
    """Divide utterances into train, dev and test.

    Test has all utterances of an eighth of the speakers; dev has two utterances of each other speaker with at least 8,
    which train does not have.

    Args:
        utterances: of at least four speakers.
        limit: of utterances to keep of a speaker, drawn at random; None keeps all.
        seed: of the draws, which are the same on any machine.

    Raises:
        UserError: there are fewer than four speakers, or fewer than two of them have utterances enough to be in dev.
    """
    draw = random.Random(seed).random

    def shuffled(names: Iterable[str]) -> list[str]:
        return [name for _, name in sorted((draw(), name) for name in sorted(names))]

    by_id = {utterance.id: utterance for utterance in utterances}
    by_speaker: dict[str, list[str]] = {}
    for utterance in by_id.values():
        by_speaker.setdefault(utterance.speaker, []).append(utterance.id)
    speakers = shuffled(by_speaker)
    n_test = max(2, round(TEST_SHARE * len(speakers)))
    if len(speakers) < n_test + 2:
        raise UserError(f"the corpus has only {len(speakers)} speakers; two for testing and two for training are needed")
    sets: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for i, speaker in enumerate(speakers):
        chosen = [by_id[name] for name in shuffled(by_speaker[speaker])[:limit]]
        n_dev = DEV_UTTERANCES if i >= n_test and len(chosen) >= DEV_MINIMUM else 0
        sets["dev"] += chosen[:n_dev]
        sets["test" if i < n_test else "train"] += chosen[n_dev:]
    if len({utterance.speaker for utterance in sets["dev"]}) < 2:
        raise UserError(f"two speakers beside those for testing need {DEV_MINIMUM} utterances each; dev has two of them")
    return sets


def trim(wave: NDArray[np.floating], sample_rate: int) -> NDArray[np.floating]:
    """Remove the silence at both ends of `wave` (T,), T >= 1, but for a margin of 100 ms."""
    length = round(FRAME * sample_rate)
    frames = np.pad(wave, (0, -len(wave) % length)).reshape(-1, length)
    power = np.square(frames).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (-QUIET / 10))
    margin = round(MARGIN * sample_rate)
    speech = slice(max(0, loud[0] * length - margin), (loud[-1] + 1) * length + margin) if loud.size else slice(0)
    return wave[speech]


def _convert(task: _Task, sample_rate: int) -> Utterance | None:
    """Write one utterance as FLAC; None if it is too short."""
    utterance, path = task
    if path.exists():
        try:
            found = soundfile.info(path)
        except soundfile.SoundFileError:
            raise UserError(f"{path} is damaged; remove it to have it made anew") from None
        if found.samplerate != sample_rate:
            raise UserError(f"{path} has {found.samplerate} Hz, not {sample_rate}; take another folder, or remove this one")
        return replace(utterance, path=path, duration=found.duration)
    wave, rate = read_recording(utterance.path)
    # DC goes first: its edges would ring in the resampler, and pass for speech.
    speech = trim(resample_source(wave - wave.mean(), rate, sample_rate), sample_rate)
    if len(speech) < SHORTEST * sample_rate:
        return None
    write_flac(path, speech, sample_rate)
    return replace(utterance, path=path, duration=len(speech) / sample_rate)


def prepare_corpus(
    sources: Sequence[SourceCorpus], out: Path, sample_rate: int, limit: int | None, seed: int, workers: int
) -> dict[str, Corpus]:
    """Write the Kaldi data folders `out`/train, dev and test with FLAC recordings; a repeated call goes on.

    Utterances are resampled, trimmed at both ends and freed of DC; levels stay. What is shorter than 1.5 s is left out.

    Args:
        sources: corpora to join.
        out: folder of the three sets.
        sample_rate: Hz.
        limit: most utterances of a speaker; None for all.
        seed: of the division into sets.
        workers: processes.

    Returns:
        The sets by name.

    Raises:
        UserError: there are too few speakers, a file cannot be read or written, or another process writes into the folder.
    """
    sets = split((u for source in sources for u in source.utterances), limit, seed)
    tasks = {name: [(u, _converted(out.absolute() / name, u)) for u in chosen] for name, chosen in sets.items()}
    places = {path.parent for of_set in tasks.values() for _, path in of_set}
    with sole_writer(out, {*places, *(out / name for name in sets)}):
        return _write_sets(sources, tasks, out, sample_rate, workers)


def _converted(folder: Path, utterance: Utterance) -> Path:
    return folder / "audio" / utterance.speaker / f"{utterance.id.removeprefix(utterance.speaker)}.flac"


def _write_sets(
    sources: Sequence[SourceCorpus], tasks: Mapping[str, list[_Task]], out: Path, sample_rate: int, workers: int
) -> dict[str, Corpus]:
    gender = {speaker: value for source in sources for speaker, value in source.gender.items()}
    corpora = {}
    for name, of_set in tasks.items():
        converted = parallel_map(partial(_convert, sample_rate=sample_rate), of_set, workers, f"preparing {name}")
        kept = tuple(sorted((u for u in converted if u), key=lambda u: u.id))
        present = {u.speaker: gender[u.speaker] for u in kept if u.speaker in gender}
        corpora[name] = Corpus(out.absolute() / name, kept, present)
        write_corpus(corpora[name])
    return corpora
