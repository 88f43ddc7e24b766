"""Training data: mixtures made on the fly from a corpus, or read from disk."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from separator.atomic import atomic_path
from separator.audio.active_level import active_speech_level
from separator.corpora.kaldi import Corpus, read_corpus, read_utterance
from separator.corpora.lists import MAX_SNR
from separator.errors import UserError


@dataclass(frozen=True)
class SpeechBank:
    """All speech of a corpus in memory, each utterance at an active speech level of one (mean square).

    `waves` holds the utterances one after another as 16-bit samples; utterance i is
    `waves[offsets[i]:offsets[i + 1]] * scales[i]`.
    """

    waves: NDArray[np.int16]  # (samples of all utterances,)
    offsets: NDArray[np.int64]  # (utterances + 1,)
    scales: NDArray[np.float32]  # (utterances,)
    speakers: tuple[NDArray[np.int64], ...]  # per speaker: indices of the utterances

    def speech(self, speaker: int, samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """`samples` samples of one speaker: utterances in random order, joined, from a random place on."""
        order = rng.permutation(self.speakers[speaker])
        start = int(rng.integers(self.offsets[order[0] + 1] - self.offsets[order[0]]))
        pieces: list[NDArray[np.float32]] = []
        missing = samples
        position = 0
        while missing > 0:
            i = order[position % len(order)]
            wave = self.waves[self.offsets[i] + start : self.offsets[i + 1]][:missing]
            pieces.append(wave.astype(np.float32) * self.scales[i])
            missing -= len(wave)
            position, start = position + 1, 0
        return np.concatenate(pieces)


def load_bank(folder: str | Path, sample_rate: int, cache: str | Path | None = None) -> SpeechBank:
    """Read a Kaldi data folder into memory.

    Args:
        folder: Kaldi data folder.
        sample_rate: Hz, of its audio and of the network.
        cache: folder for the decoded speech; a later call with the same corpus reads it instead of decoding again.

    Raises:
        UserError: the corpus is not usable, has another sample rate, or fewer than two speakers.
    """
    corpus = read_corpus(folder)
    position = {utterance.id: i for i, utterance in enumerate(corpus.utterances)}
    speakers = tuple(np.array([position[u.id] for u in group]) for group in corpus.by_speaker.values())
    if cache is None:
        return SpeechBank(*_decode(corpus, sample_rate), speakers)
    key = json.dumps([sample_rate, [[u.id, str(u.path), u.path.stat().st_size] for u in corpus.utterances]])
    path = Path(cache) / f"speech-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    if not path.exists():
        waves, offsets, scales = _decode(corpus, sample_rate)
        with atomic_path(path) as temporary:
            np.savez(temporary, waves=waves, offsets=offsets, scales=scales)
    with np.load(path) as saved:
        return SpeechBank(saved["waves"], saved["offsets"], saved["scales"], speakers)


def _decode(corpus: Corpus, sample_rate: int) -> tuple[NDArray[np.int16], NDArray[np.int64], NDArray[np.float32]]:
    waves: list[NDArray[np.int16]] = []
    scales: list[float] = []
    for utterance in tqdm(corpus.utterances, desc=f"reading {corpus.folder.name}", unit="utt", disable=None, leave=False):
        wave = read_utterance(utterance, sample_rate)
        peak = max(float(np.abs(wave).max(initial=0.0)), 1e-9)
        waves.append(np.round(wave * (32767 / peak)).astype(np.int16))
        scales.append(peak / 32767 / active_speech_level(wave, sample_rate) ** 0.5)
    offsets = np.concatenate([[0], np.cumsum([len(w) for w in waves])]).astype(np.int64)
    return np.concatenate(waves), offsets, np.array(scales, dtype=np.float32)


class MixturesOnTheFly(Dataset[Tensor]):
    """Sources of random mixtures of different speakers. Item shape: (n_src, T); their sum is the mixture.

    Item i of an epoch depends on nothing but the seed, the epoch and i, so that a resumed training goes on with the very
    mixtures that an uninterrupted one would have seen, on any number of processes.

    Args:
        bank: speech to mix.
        count: mixtures in an epoch.
        samples: length T of each.
        n_src: talkers.
        seed: of the whole series.
        epoch: which of its epochs.
    """

    def __init__(self, bank: SpeechBank, count: int, samples: int, n_src: int = 2, seed: int = 0, epoch: int = 0) -> None:
        if n_src > len(bank.speakers):
            raise UserError(f"mixtures of {n_src} talkers need as many speakers, the corpus has {len(bank.speakers)}")
        self.bank, self.count, self.samples, self.n_src = bank, count, samples, n_src
        self.seed, self.epoch = seed, epoch

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        if not 0 <= index < self.count:
            raise IndexError(index)
        rng = np.random.default_rng([self.seed, self.epoch, index])
        chosen = rng.choice(len(self.bank.speakers), self.n_src, replace=False)
        sources = np.stack([self.bank.speech(int(speaker), self.samples, rng) for speaker in chosen])
        half_snr = rng.uniform(0, MAX_SNR) / 2
        gains_db = np.array([half_snr, -half_snr] + [0.0] * (self.n_src - 2))[: self.n_src]
        sources *= 10 ** (gains_db[:, None] / 20).astype(np.float32)
        # Published mixtures peak below 0.9 of full scale; speech of unit level does so at about a tenth.
        return torch.from_numpy(sources * np.float32(0.1))


class MixturesFromDisk(Dataset[Tensor]):
    """Sources of mixtures on disk, cut to segments. Item shape: (n_src, T); shorter ones are padded with zeros.

    Args:
        mixtures: the source files of each mixture.
        samples: length T of a segment.
        sample_rate: Hz.
    """

    def __init__(self, mixtures: Sequence[tuple[Path, ...]], samples: int, sample_rate: int) -> None:
        self.samples, self.sample_rate = samples, sample_rate
        self.segments = [
            (sources, start)
            for sources in mixtures
            for start in range(0, max(1, soundfile.info(sources[0]).frames - samples // 2), samples)
        ]

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self, index: int) -> Tensor:
        sources, start = self.segments[index]
        waves = []
        for path in sources:
            wave, rate = soundfile.read(path, self.samples, start, dtype="float32", fill_value=0.0)
            if rate != self.sample_rate:
                raise UserError(f"{path} has {rate} Hz, the network {self.sample_rate} Hz; make mixtures at that rate")
            waves.append(torch.from_numpy(wave))
        return torch.stack(waves)
