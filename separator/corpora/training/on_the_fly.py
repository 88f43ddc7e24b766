"""Training data made on the fly: random mixtures of different speakers, varied in many ways."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from separator.corpora.training.augmentation import (
    AugmentationSettings,
    add_pause,
    at_level_of,
    at_snr,
    change_speed,
    draw_shelf,
    equalise,
    happens,
    overlap_partly,
    reverberate,
    stretched_length,
)
from separator.corpora.training.bank import SpeechBank
from separator.corpora.training.pairs import AnyTalkers, Talkers
from separator.corpora.training.surroundings import NoiseBank, Rooms
from separator.corpora.training.vocal_tract import move_resonances

FADE = 0.01  # s, at the ends of a pause: a click would tell where it is


@dataclass(frozen=True)
class Variation:
    """Variation of mixtures, with the rooms and the noise that it takes."""

    settings: AugmentationSettings = field(default_factory=AugmentationSettings)
    sample_rate: int = 8000  # Hz
    rooms: Rooms | None = None
    noise: NoiseBank | None = None

    def speech(self, bank: SpeechBank, speaker: int, samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """`samples` samples of one speaker, perhaps at another speed, of another vocal tract and through a filter."""
        settings = self.settings
        if happens(settings.speed, rng):
            speed = float(rng.uniform(1 - settings.speed_range, 1 + settings.speed_range))
            wave = bank.speech(speaker, stretched_length(samples, speed), rng)
            wave = change_speed(wave, speed, samples, self.sample_rate)
        else:
            wave = bank.speech(speaker, samples, rng)
        if happens(settings.resonances, rng):
            ratio = float(rng.uniform(1 - settings.resonances_range, 1 + settings.resonances_range))
            wave = at_level_of(move_resonances(wave, ratio, self.sample_rate), wave)
        if happens(settings.equaliser, rng):
            wave = equalise(wave, *draw_shelf(settings.equaliser_range, self.sample_rate, rng))
        return wave

    def place(self, sources: NDArray[np.float32], rng: np.random.Generator) -> None:
        """Give sources (C, T) pauses and a room, in place."""
        settings = self.settings
        kind = rng.random() if settings.pauses + settings.overlap > 0 else 1.0
        if kind < settings.pauses:
            add_pause(sources, round(FADE * self.sample_rate), rng)
        elif kind < settings.pauses + settings.overlap:
            overlap_partly(sources, round(FADE * self.sample_rate), rng)
        if self.rooms and happens(settings.rooms, rng):
            for source, response in zip(sources, self.rooms.draw(len(sources), rng), strict=True):
                source[:] = reverberate(source, response)

    def background(self, sources: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32] | None:
        """Noise (T,) behind sources (C, T), perhaps none at all, which is zeros; None where there never is any."""
        if not self.noise or not self.settings.noise:
            return None
        if not happens(self.settings.noise, rng):
            return np.zeros(sources.shape[1], np.float32)
        noise = self.noise.noise(sources.shape[1], rng)
        return at_snr(noise, sources.sum(axis=0), float(rng.uniform(*self.settings.snr)))


class MixturesOnTheFly(Dataset[Tensor]):
    """Sources of random mixtures of different speakers. Item shape: (n_src, T); their sum is the mixture.

    Where mixtures may have noise, it is one more row, (n_src + 1, T), of zeros where there is none; the sum of all rows is the
    mixture. In a room, sources are as they are heard there: to separate is not to take the room away.

    Item i of an epoch depends on nothing but the seed, the epoch and i, so that a resumed training goes on with the very
    mixtures that an uninterrupted one would have seen, on any number of processes.

    Args:
        talkers: who may talk; a corpus for any of its speakers.
        count: mixtures in an epoch.
        samples: length T of each.
        n_src: talkers.
        seed: of the whole series.
        epoch: which of its epochs.
        variation: how mixtures are varied; None for not at all.
    """

    def __init__(
        self,
        talkers: SpeechBank | Talkers,
        count: int,
        samples: int,
        n_src: int = 2,
        seed: int = 0,
        epoch: int = 0,
        variation: Variation | None = None,
    ) -> None:
        self.talkers = AnyTalkers(talkers) if isinstance(talkers, SpeechBank) else talkers
        self.talkers.require(n_src)
        self.variation = variation or Variation()
        if self.variation.rooms:
            self.variation.rooms.require(n_src)
        self.count, self.samples, self.n_src = count, samples, n_src
        self.seed, self.epoch = seed, epoch

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        if not 0 <= index < self.count:
            raise IndexError(index)
        rng = np.random.default_rng([self.seed, self.epoch, index])
        chosen = self.talkers.draw(self.n_src, rng)
        sources = np.stack([self.variation.speech(bank, speaker, self.samples, rng) for bank, speaker in chosen])
        self.variation.place(sources, rng)
        half_snr = rng.uniform(0, self.variation.settings.levels) / 2
        gains_db = np.array([half_snr, -half_snr] + [0.0] * (self.n_src - 2))[: self.n_src]
        # By Python's numbers: numpy's powers differ in their last bit from machine to machine.
        gains = [10 ** float(exponent) for exponent in (gains_db / 20).astype(np.float32)]
        sources *= np.array(gains, np.float32)[:, None]
        noise = self.variation.background(sources, rng)
        rows = sources if noise is None else np.concatenate([sources, noise[None]])
        # Published mixtures peak below 0.9 of full scale; speech of unit level does so at about a tenth.
        return torch.from_numpy(rows * np.float32(0.1))
