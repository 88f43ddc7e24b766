"""Training data made on the fly: random mixtures of different speakers, varied in many ways."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from separator.corpora.training.augmentation import (
    at_level_of,
    at_snr,
    change_speed,
    equalise,
    reverberate,
    silence,
)
from separator.corpora.training.bank import SpeechBank
from separator.corpora.training.pairs import AnyTalkers, Talkers
from separator.corpora.training.plans import MixturePlan, SourcePlan, Variation
from separator.corpora.training.vocal_tract import move_resonances

FADE = 0.01  # s, at the ends of a pause: a click would tell where it is
LEVEL = 0.1  # published mixtures peak below 0.9 of full scale; speech of unit level does so at about a tenth


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

    Raises:
        UserError: there are fewer speakers than talkers, or places in a room.
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
        return torch.from_numpy(made(self.plan(index), self.talkers.banks, self.variation) * np.float32(LEVEL))

    def plan(self, index: int) -> MixturePlan:
        """Plan of an item."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        rng = np.random.default_rng([self.seed, self.epoch, index])
        return self.variation.plan(self.talkers, self.n_src, self.samples, rng)


def made(plan: MixturePlan, banks: Sequence[SpeechBank], variation: Variation) -> NDArray[np.float32]:
    """Sources of a mixture at unit level, and behind them the noise, if mixtures may have some. Shape: (rows, T)."""
    rate = variation.sample_rate
    sources = np.stack([_spoken(source, banks[source.corpus], plan.samples, rate) for source in plan.sources])
    for wave, source in zip(sources, plan.sources, strict=True):
        if source.silent is not None:
            silence(wave, *source.silent, round(FADE * rate))
    if plan.room is not None and variation.rooms is not None:
        room, places = plan.room
        for wave, place in zip(sources, places, strict=True):
            wave[:] = reverberate(wave, variation.rooms.responses[room, place])
    sources *= np.array([source.gain for source in plan.sources], np.float32)[:, None]
    if variation.noise is None or not variation.noisy:
        return sources
    background = np.zeros(plan.samples, np.float32)
    if plan.noise is not None:
        background = at_snr(variation.noise.joined(plan.noise.noise), sources.sum(axis=0), plan.noise.snr)
    return np.concatenate([sources, background[None]])


def _spoken(source: SourcePlan, bank: SpeechBank, samples: int, sample_rate: int) -> NDArray[np.float32]:
    """What a talker says, perhaps at another speed, of another vocal tract and through a filter. Shape: (samples,)."""
    wave = bank.joined(source.speech)
    if source.speed is not None:
        wave = change_speed(wave, source.speed, samples, sample_rate)
    if source.resonances is not None:
        wave = at_level_of(move_resonances(wave, source.resonances, sample_rate), wave)
    return wave if source.shelf is None else equalise(wave, *source.shelf)
