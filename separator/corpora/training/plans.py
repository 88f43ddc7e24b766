"""Plans of mixtures made on the fly: all that is drawn of them, before there is any wave."""

from dataclasses import dataclass, field

import numpy as np

from separator.corpora.training.augmentation import (
    AugmentationSettings,
    Shelf,
    Span,
    draw_overlap,
    draw_pause,
    draw_shelf,
    happens,
    stretched_length,
)
from separator.corpora.training.bank import Cut
from separator.corpora.training.pairs import Talkers
from separator.corpora.training.surroundings import NoiseBank, Rooms


@dataclass(frozen=True)
class SourcePlan:
    """What one talker says, and what is done to it, in this order."""

    corpus: int  # of the talkers' corpora
    speech: Cut  # of its recordings
    speed: float | None = None  # that it is played at; above 1 for faster
    resonances: float | None = None  # ratio that its resonances are moved by
    shelf: Shelf | None = None  # filter that it goes through
    silent: Span | None = None  # samples in which there is nothing to be heard
    gain: float = 1.0


@dataclass(frozen=True)
class NoisePlan:
    """Noise behind the talkers."""

    noise: Cut  # of its recordings
    snr: float  # dB, of the talkers together over it


@dataclass(frozen=True)
class MixturePlan:
    """A mixture of so many samples."""

    samples: int
    sources: tuple[SourcePlan, ...]
    room: tuple[int, tuple[int, ...]] | None = None  # by number, and the places of the sources in it
    noise: NoisePlan | None = None


@dataclass(frozen=True)
class Variation:
    """Variation of mixtures, with the rooms and the noise that it takes."""

    settings: AugmentationSettings = field(default_factory=AugmentationSettings)
    sample_rate: int = 8000  # Hz
    rooms: Rooms | None = None
    noise: NoiseBank | None = None

    @property
    def noisy(self) -> bool:
        """Whether mixtures may have noise."""
        return self.noise is not None and self.settings.noise > 0

    def plan(self, talkers: Talkers, n_src: int, samples: int, rng: np.random.Generator) -> MixturePlan:
        """Draw all of a mixture.

        Args:
            talkers: who may talk.
            n_src: how many do.
            samples: length of the mixture.
            rng: whose next numbers decide.
        """
        chosen = talkers.draw(n_src, rng)
        said = [self._said(talkers, corpus, speaker, samples, rng) for corpus, speaker in chosen]
        silent = self._silent(n_src, samples, rng)
        room = self.rooms.draw(n_src, rng) if self.rooms and happens(self.settings.rooms, rng) else None
        half_snr = rng.uniform(0, self.settings.levels) / 2
        gains_db = np.array([half_snr, -half_snr] + [0.0] * (n_src - 2))[:n_src]
        # By Python's numbers: numpy's powers differ in their last bit from machine to machine.
        gains = [10 ** float(exponent) for exponent in (gains_db / 20).astype(np.float32)]
        sources = [
            SourcePlan(corpus, *what, silent.get(i), gain)
            for i, ((corpus, _), what, gain) in enumerate(zip(chosen, said, gains, strict=True))
        ]
        return MixturePlan(samples, tuple(sources), room, self._background(samples, rng))

    def _said(
        self, talkers: Talkers, corpus: int, speaker: int, samples: int, rng: np.random.Generator
    ) -> tuple[Cut, float | None, float | None, Shelf | None]:
        """What a talker says, its speed, ratio of resonances and filter."""
        settings, speed, ratio = self.settings, None, None
        if happens(settings.speed, rng):
            speed = float(rng.uniform(1 - settings.speed_range, 1 + settings.speed_range))
        speech = talkers.banks[corpus].draw(speaker, samples if speed is None else stretched_length(samples, speed), rng)
        if happens(settings.resonances, rng):
            ratio = float(rng.uniform(1 - settings.resonances_range, 1 + settings.resonances_range))
        filtered = happens(settings.equaliser, rng)
        return speech, speed, ratio, draw_shelf(settings.equaliser_range, self.sample_rate, rng) if filtered else None

    def _silent(self, n_src: int, samples: int, rng: np.random.Generator) -> dict[int, Span]:
        """Spans in which sources, by number, are silent."""
        settings = self.settings
        kind = rng.random() if settings.pauses + settings.overlap > 0 else 1.0
        if kind < settings.pauses:
            return draw_pause(n_src, samples, rng)
        return draw_overlap(n_src, samples, rng) if kind < settings.pauses + settings.overlap else {}

    def _background(self, samples: int, rng: np.random.Generator) -> NoisePlan | None:
        if not (self.noise and happens(self.settings.noise, rng)):
            return None
        noise = self.noise.draw(samples, rng)
        return NoisePlan(noise, float(rng.uniform(*self.settings.snr)))
