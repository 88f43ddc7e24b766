"""Mixtures made on the fly of noise: what they say is no matter for how long it takes to make them and to learn from them."""

import numpy as np

from separator.corpora.training.augmentation import AugmentationSettings
from separator.corpora.training.bank import Recordings, SpeechBank, Voice
from separator.corpora.training.on_the_fly import MixturesOnTheFly
from separator.corpora.training.pairs import AnyTalkers, PairedTalkers
from separator.corpora.training.plans import Variation
from separator.corpora.training.surroundings import NoiseBank, Rooms
from separator.models.tasnet import TasNetConfig

SPEAKERS, UTTERANCES, UTTERANCE = 40, 10, 4.0  # the last in s
ROOMS, REVERBERATION = 8, 0.4  # the last in s
NOISES, NOISE = 8, 5.0  # the last in s
PITCHES = (90.0, 250.0)  # Hz, lowest and highest
CLOSE = 0.65  # of the pairs, as in medium.yaml
# All that there is, in every mixture.
EVERYTHING = AugmentationSettings(speed=1.0, resonances=1.0, equaliser=1.0, pauses=0.5, overlap=0.5, rooms=1.0, noise=1.0)


def noise_mixtures(config: TasNetConfig, seconds: float, count: int, varied: bool) -> MixturesOnTheFly:
    """Mixtures as `separator train` makes them, of talkers who are noise.

    Args:
        config: whose talkers and sample rate they have.
        seconds: length of each.
        count: how many.
        varied: with pairs drawn by closeness and every augmentation in every mixture, in a room and in noise; else plain.
    """
    rng = np.random.default_rng(0)
    rate, samples = config.sample_rate, round(seconds * config.sample_rate)
    bank = _talkers(rate, rng)
    if not varied:
        return MixturesOnTheFly(AnyTalkers(bank), count, samples, config.n_src)
    noise = NoiseBank(**vars(_recordings(NOISES, NOISE, rate, rng)))
    variation = Variation(EVERYTHING, rate, _rooms(rate, config.n_src, rng), noise)
    return MixturesOnTheFly(PairedTalkers([bank], close=CLOSE), count, samples, config.n_src, variation=variation)


def _talkers(rate: int, rng: np.random.Generator) -> SpeechBank:
    voices = [Voice(f"s{i}", "mf"[i % 2], pitch) for i, pitch in enumerate(np.linspace(*PITCHES, SPEAKERS))]
    speakers = np.arange(SPEAKERS * UTTERANCES).reshape(SPEAKERS, UTTERANCES)
    recordings = _recordings(speakers.size, UTTERANCE, rate, rng)
    return SpeechBank(**vars(recordings), speakers=tuple(speakers), voices=tuple(voices))


def _recordings(count: int, seconds: float, rate: int, rng: np.random.Generator) -> Recordings:
    """Noise of unit level."""
    samples = round(seconds * rate)
    waves = rng.integers(-32767, 32768, count * samples, dtype=np.int16)
    return Recordings(waves, np.arange(count + 1) * samples, np.full(count, 3**0.5 / 32767, np.float32))


def _rooms(rate: int, places: int, rng: np.random.Generator) -> Rooms:
    """Impulse responses that fall by 60 dB."""
    samples = round(REVERBERATION * rate)
    fall = 10 ** (-3 * np.arange(samples) / samples)
    return Rooms((rng.normal(size=(ROOMS, places, samples)) * fall).astype(np.float32))
