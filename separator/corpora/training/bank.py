"""The speech of a corpus in memory, to mix it on the fly."""

import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from separator.arrays import Arrays, read_arrays
from separator.atomic import atomic_path
from separator.audio.active_level import level_of_recording
from separator.audio.pitch import mean_pitch
from separator.corpora.kaldi import Corpus, read_corpus, read_utterance

PITCH_VERSION = 1  # of what measures pitch: pitches of another one in a cache do not count


@dataclass(frozen=True)
class Voice:
    """Speaker as far as it is known."""

    name: str
    gender: str = "?"  # "m", "f" or "?"
    pitch: float = nan  # mean fundamental frequency, Hz; NaN where it was not measured or nothing is voiced


class Cut(NamedTuple):
    """Parts of recordings, which joined are a wave; each is `waves[start:start + length] * scale`."""

    starts: NDArray[np.int64]  # (parts,), in the samples of all recordings
    lengths: NDArray[np.int64]  # (parts,)
    scales: NDArray[np.float32]  # (parts,)


@dataclass(frozen=True)
class Recordings:
    """Recordings one after another as 16-bit samples; recording i is `waves[offsets[i]:offsets[i + 1]] * scales[i]`."""

    waves: NDArray[np.int16]  # (samples of all recordings,)
    offsets: NDArray[np.int64]  # (recordings + 1,)
    scales: NDArray[np.float32]  # (recordings,)

    def recording(self, i: int) -> NDArray[np.float32]:
        """All of recording i."""
        wave: NDArray[np.float32] = self.waves[self.offsets[i] : self.offsets[i + 1]].astype(np.float32) * self.scales[i]
        return wave

    def cut(self, order: NDArray[np.int64], start: int, samples: int) -> Cut:
        """`samples` samples of the recordings in `order`, again and again, from sample `start` of the first on."""
        parts: list[tuple[int, int, np.float32]] = []
        missing = samples
        position = 0
        while missing > 0:
            i = order[position % len(order)]
            first = int(self.offsets[i]) + start
            length = min(int(self.offsets[i + 1]) - first, missing)
            parts.append((first, length, self.scales[i]))
            missing -= length
            position, start = position + 1, 0
        starts, lengths, scales = zip(*parts, strict=True)
        return Cut(np.array(starts), np.array(lengths), np.array(scales, np.float32))

    def joined(self, cut: Cut) -> NDArray[np.float32]:
        """The wave that parts of these recordings make."""
        parts = zip(*cut, strict=True)
        return np.concatenate([self.waves[i : i + length].astype(np.float32) * scale for i, length, scale in parts])


@dataclass(frozen=True)
class SpeechBank(Recordings):
    """All speech of a corpus in memory, each utterance at an active speech level of one (mean square)."""

    speakers: tuple[NDArray[np.int64], ...]  # per speaker: indices of the utterances
    voices: tuple[Voice, ...]  # of the same speakers
    name: str = "the corpus"  # in messages

    def draw(self, speaker: int, samples: int, rng: np.random.Generator) -> Cut:
        """`samples` samples of one speaker: utterances in random order from a random place on."""
        order = rng.permutation(self.speakers[speaker])
        start = int(rng.integers(self.offsets[order[0] + 1] - self.offsets[order[0]]))
        return self.cut(order, start, samples)

    def length(self) -> int:
        """Samples of all speakers together."""
        lengths = np.diff(self.offsets)
        return int(sum(lengths[group].sum() for group in self.speakers))

    def among(self, names: Collection[str]) -> "SpeechBank":
        """The same speech of these speakers only."""
        kept = [i for i, voice in enumerate(self.voices) if voice.name in names]
        return replace(self, speakers=tuple(self.speakers[i] for i in kept), voices=tuple(self.voices[i] for i in kept))


def load_bank(folder: str | Path, sample_rate: int, cache: str | Path | None = None, pitch: bool = False) -> SpeechBank:
    """Read a Kaldi data folder into memory.

    Args:
        folder: Kaldi data folder.
        sample_rate: Hz, of its audio and of the network.
        cache: folder for the decoded speech; a later call with the same speech, wherever it is and since when, reads it instead
            of decoding again.
        pitch: measure the voices' pitch, which goes to the cache too; else it is NaN.

    Raises:
        UserError: the corpus is not usable, has another sample rate, or fewer than two speakers.
    """
    corpus = read_corpus(folder)
    position = {utterance.id: i for i, utterance in enumerate(corpus.utterances)}
    speakers = tuple(np.array([position[u.id] for u in group]) for group in corpus.by_speaker.values())
    digest = _digest(corpus, sample_rate) if cache else ""
    speech = _cached(cache and Path(cache) / f"speech-{digest}.npz", lambda: _decode(corpus, sample_rate))
    recordings = Recordings(speech["waves"], speech["offsets"], speech["scales"])
    pitches = np.full(len(corpus.utterances), nan)
    if pitch:  # in a file of its own: a training that needs no pitch shall neither wait for it nor decode the speech again
        path = cache and Path(cache) / f"pitch-{PITCH_VERSION}-{digest}.npz"
        pitches = _cached(path, lambda: {"pitches": _pitches(recordings, sample_rate, corpus.folder.name)})["pitches"]
    voices = tuple(
        Voice(name, corpus.gender.get(name, "?"), _speaker_pitch(pitches[group]))
        for name, group in zip(corpus.by_speaker, speakers, strict=True)
    )
    return SpeechBank(**vars(recordings), speakers=speakers, voices=voices, name=str(folder))


def _digest(corpus: Corpus, sample_rate: int) -> str:
    """What tells speech from other speech: content, not times and places, which change when a corpus is copied or mounted."""
    digest = hashlib.sha256(f"{sample_rate}\n".encode())
    for utterance in corpus.utterances:
        with utterance.path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{json.dumps(utterance.id)} {content}\n".encode())
    return digest.hexdigest()[:16]


def _cached(path: str | Path | None, make: Callable[[], Arrays]) -> Arrays:
    """Content of a file of the cache, made and kept there if it is new."""
    if not path:
        return make()
    if not Path(path).exists():
        with atomic_path(path) as temporary:
            np.savez(temporary, **make())  # type: ignore[arg-type]
    return read_arrays(path, "remove it, and it will be made again")


def _decode(corpus: Corpus, sample_rate: int) -> Arrays:
    waves: list[NDArray[np.int16]] = []
    scales: list[float] = []
    for utterance in tqdm(corpus.utterances, desc=f"reading {corpus.folder.name}", unit="utt", disable=None, leave=False):
        wave = read_utterance(utterance, sample_rate)
        peak = max(float(np.abs(wave).max(initial=0.0)), 1e-9)
        waves.append(np.round(wave * (32767 / peak)).astype(np.int16))
        scales.append(peak / 32767 / level_of_recording(utterance.path, wave, sample_rate) ** 0.5)
    offsets = np.concatenate([[0], np.cumsum([len(w) for w in waves])]).astype(np.int64)
    return {"waves": np.concatenate(waves), "offsets": offsets, "scales": np.array(scales, dtype=np.float32)}


def _pitches(recordings: Recordings, sample_rate: int, name: str) -> NDArray[np.float64]:
    """Mean pitch of each recording, Hz; NaN where nothing is voiced."""
    numbers = tqdm(range(len(recordings.scales)), desc=f"pitch of {name}", unit="utt", disable=None, leave=False)
    return np.array([mean_pitch(recordings.recording(i), sample_rate) for i in numbers])


def _speaker_pitch(pitches: NDArray[np.float64]) -> float:
    """Geometric mean of what was measured, since pitch is heard by ratios."""
    known = pitches[~np.isnan(pitches)]
    return float(np.exp(np.log(known).mean())) if known.size else nan
