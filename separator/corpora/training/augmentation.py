"""Variation of mixtures made on the fly: speed, timbre, pauses, rooms and noise."""

from dataclasses import dataclass
from math import cos, exp, log, pi, sin, sqrt

import numpy as np
import soxr
from numpy.typing import NDArray

from separator.corpora.lists import MAX_SNR

SILENT = 1e-12  # mean square, under which a wave has no level

Wave = NDArray[np.float32]
Span = tuple[int, int]  # samples of a wave, the first and the one behind the last
Shelf = tuple[NDArray[np.float64], NDArray[np.float64]]  # coefficients b and a of a filter, each (3,), a[0] = 1


@dataclass(frozen=True)
class AugmentationSettings:
    """Settings of the variation of mixtures made on the fly; by default there is none."""

    speed: float = 0.0  # share of sources that are played slower or faster, pitch and all
    speed_range: float = 0.12  # by at most this share
    resonances: float = 0.0  # share of sources with a longer or shorter vocal tract, the pitch as it is
    resonances_range: float = 0.15  # its resonances lower or higher by at most this share
    equaliser: float = 0.0  # share of sources with raised or lowered lows or highs, their level kept
    equaliser_range: float = 6.0  # dB, by at most so much
    pauses: float = 0.0  # share of mixtures in which one talker is silent for a tenth to half of the segment
    overlap: float = 0.0  # share of mixtures in which one talker begins later and another one ends earlier
    levels: float = MAX_SNR  # dB between the first two talkers, at most
    rooms: float = 0.1  # share of mixtures in a room; where rooms are given
    noise: float = 0.1  # share of mixtures with noise; where noise is given
    snr: tuple[float, float] = (5.0, 25.0)  # dB, least and most, of the talkers together over the noise

    def __post_init__(self) -> None:
        for name in ("speed", "resonances", "equaliser", "pauses", "overlap", "rooms", "noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augment.{name} is a share between 0 and 1, not {getattr(self, name):g}")
        if self.pauses + self.overlap > 1:
            raise ValueError("augment.pauses and augment.overlap together are at most 1: no mixture has both")
        for name in ("speed_range", "resonances_range"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"augment.{name} must be at least 0 and less than 1, not {getattr(self, name):g}")
        if not (self.levels >= 0 and self.equaliser_range >= 0 and self.snr[0] <= self.snr[1]):
            raise ValueError("augment.levels and augment.equaliser_range must be 0 or more, augment.snr least and most")


def happens(share: float, rng: np.random.Generator) -> bool:
    """Draw whether something of this share happens; what never does draws nothing, so that other draws stay the same."""
    return share > 0 and bool(rng.random() < share)


def level(wave: Wave) -> float:
    """Root of the mean square of a wave (T,)."""
    return float(np.sqrt(np.square(wave).mean(dtype=np.float64)))


def at_level_of(wave: Wave, original: Wave) -> Wave:
    """`wave`, as loud as `original`; as it is where it is silent. Shapes: (T,)."""
    loudness = level(wave)
    return wave if loudness**2 < SILENT else wave * np.float32(level(original) / loudness)


def stretched_length(samples: int, speed: float) -> int:
    """Samples that `change_speed` needs to make `samples` of them."""
    return int(samples * speed) + 16


def change_speed(wave: Wave, speed: float, samples: int, sample_rate: int) -> Wave:
    """Play a wave at `speed` times its speed; pitch and formants go along.

    Args:
        wave: `stretched_length` samples.
        speed: above 1 for faster.
        samples: to return.
        sample_rate: Hz.
    """
    played: Wave = soxr.resample(wave, sample_rate * speed, sample_rate, quality="MQ")[:samples]
    return played


def shelf(kind: str, gain_db: float, corner: float, sample_rate: int) -> Shelf:
    """Shelving filter of second order by Bristow-Johnson's Audio EQ Cookbook, slope 1; it is stable whatever the gain.

    Args:
        kind: `low` or `high`, the end of the spectrum that is raised or lowered.
        gain_db: of that end; the other stays.
        corner: Hz, where half of the gain (in dB) is reached.
        sample_rate: Hz.

    Returns:
        Its coefficients.
    """
    amplitude, angle = 10 ** (gain_db / 40), 2 * pi * corner / sample_rate
    sign = 1 if kind == "low" else -1
    c, s = sign * cos(angle), sqrt(2 * amplitude) * sin(angle)
    plus, minus = amplitude + 1, amplitude - 1
    b = np.array([plus - minus * c + s, 2 * sign * (minus - plus * c), plus - minus * c - s]) * amplitude
    a = np.array([plus + minus * c + s, -2 * sign * (minus + plus * c), plus + minus * c - s])
    return b / a[0], a / a[0]


def draw_shelf(gain_range: float, sample_rate: int, rng: np.random.Generator) -> Shelf:
    """A filter that raises or lowers lows (to 200..800 Hz) or highs (from 1000 Hz to a third of the sample rate on)."""
    kind, least, most = ("low", 200.0, 800.0) if rng.random() < 0.5 else ("high", 1000.0, sample_rate / 3)
    corner = exp(rng.uniform(log(least), log(most)))
    return shelf(kind, float(rng.uniform(-gain_range, gain_range)), corner, sample_rate)


def equalise(wave: Wave, b: NDArray[np.float64], a: NDArray[np.float64]) -> Wave:
    """A wave (T,) through a filter, at the level it had."""
    from scipy.signal import lfilter  # half a second, here and below, which what is not varied need not wait for

    return at_level_of(lfilter(b.astype(np.float32), a.astype(np.float32), wave), wave)


def fading(samples: int) -> Wave:
    """Half a period of a raised cosine, from 1 to 0. Shape: (samples,)."""
    return (0.5 + 0.5 * np.cos(pi * (np.arange(samples) + 0.5) / samples)).astype(np.float32)


def silence(wave: Wave, start: int, stop: int, fade: int) -> None:
    """Make samples `start` to before `stop` of a wave zero, in place; `fade` samples beside them fade out and in."""
    wave[start:stop] = 0
    ramp = fading(fade)
    before, after = wave[max(0, start - fade) : start], wave[stop : stop + fade]
    before *= ramp[fade - len(before) :]
    after *= ramp[::-1][: len(after)]


def draw_pause(n_src: int, samples: int, rng: np.random.Generator) -> dict[int, Span]:
    """A tenth to half of the time in which one of the sources is silent."""
    length = int(samples * rng.uniform(0.1, 0.5))
    start = int(rng.integers(samples - length + 1))
    return {int(rng.integers(n_src)): (start, start + length)}


def draw_overlap(n_src: int, samples: int, rng: np.random.Generator) -> dict[int, Span]:
    """A tenth to 0.4 of the time by which one of the sources begins later, and by which another one ends earlier."""
    late, early = rng.permutation(n_src)[:2].tolist()
    begins = int(samples * rng.uniform(0.1, 0.4))
    return {late: (0, begins), early: (samples - int(samples * rng.uniform(0.1, 0.4)), samples)}


def reverberate(wave: Wave, response: Wave) -> Wave:
    """A wave (T,) in a room of this impulse response (L,), at the level it had; the tail after T is cut off."""
    from scipy.signal import fftconvolve

    return at_level_of(fftconvolve(wave, response)[: len(wave)].astype(np.float32, copy=False), wave)


def at_snr(noise: Wave, speech: Wave, snr_db: float) -> Wave:
    """Noise (T,) at a level that leaves the speech (T,) `snr_db` above it; as it is where it is silent."""
    loudness = level(noise)
    return noise if loudness**2 < SILENT else noise * np.float32(level(speech) / loudness * 10 ** (-snr_db / 20))
