"""A first pass over a sound: finds how to make one channel of it, and what a network would take amiss."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Channels whose mean has less than this part of the energy that unrelated channels would leave it cancel each other.
CANCELLING = 0.1
ROUNDING = 1e-12  # part of the energy with an offset, below which what is left without it is no sound
# A constant part over this part of the sound's own level is no chance, given so many seconds.
OFFSET, LEAST_SECONDS = 0.05, 0.5
# Networks add small constants to levels, which drown sound that peaks below; they were trained with peaks from 0.25 to 0.5.
QUIET, USUAL = 2.0**-6, 0.5
LOUD = (2.0**4, 2.0**64)  # peaks of floats that are scaled as integers, of which networks make garbage
CLIPPED = (0.98, 1.0)  # where the peaks of sound lie that was cut at full scale
SAME = 1 - 1e-4  # of peaks, as integers reach one step further down than up
LEAST_CLIPPED = 1e-4  # part of all samples that lie flat at the peak, from which this is told


@dataclass(frozen=True)
class Condition:
    """Offset taken off a sound, and factor it is multiplied with then, before a network hears it."""

    offset: float = 0.0
    scale: float = 1.0  # a power of two, which rounds nothing

    def notes(self) -> list[str]:
        """Notes for the listener, one line each."""
        found = [f"a constant offset of {self.offset:.2g} of full scale taken out"] if self.offset else []
        if self.scale != 1:
            loudness = f"{abs(20 * np.log10(self.scale)):.0f} dB"
            change = f"very quiet: raised by {loudness}" if self.scale > 1 else f"very loud: lowered by {loudness}"
            found.append(f"{change} while it was separated, not in the sources")
        return found


def condition_of(mean: float, energy: float, extremes: tuple[float, float], seconds: float) -> Condition:
    """Condition for a network of sound of one channel, of this mean, mean square, lowest and highest sample."""
    level = np.sqrt(max(0.0, energy - mean**2))
    offset = mean if abs(mean) > OFFSET * level and seconds >= LEAST_SECONDS else 0.0
    if offset and level <= 1e-9 * abs(mean):  # nothing but the offset: silence, whose rounding is no sound
        return Condition(offset)
    peak = max(extremes[1] - offset, offset - extremes[0])
    scale = 2.0 ** np.floor(np.log2(USUAL / peak)) if 0 < peak < QUIET or LOUD[0] < peak < LOUD[1] else 1.0
    return Condition(offset, float(scale))


class Survey:
    """Sums over the blocks of a sound.

    Args:
        channels: of the sound.
        sample_rate: Hz.
        kept: part of the loudest channel's energy with which one that was taken alone before stays so.
    """

    def __init__(self, channels: int, sample_rate: int, kept: float = 1.0) -> None:
        self.sample_rate, self.frames = sample_rate, 0
        self._kept, self._alone = kept, -1  # channel that was taken alone, if any
        self._sums, self._gram = np.zeros(channels), np.zeros((channels, channels))
        self._low, self._high = np.full(channels, np.inf), np.full(channels, -np.inf)
        self._flat = np.zeros(channels)  # samples at the peak that repeat the one before

    @property
    def _peaks(self) -> NDArray[np.float64]:
        peaks: NDArray[np.float64] = np.maximum(np.maximum(self._high, -self._low), 0)
        return peaks

    def add(self, block: NDArray[np.float64]) -> None:
        """Take the next samples, shape (k, channels), k at least 1."""
        self.frames += len(block)
        self._sums += block.sum(0)
        self._gram += np.einsum("tc,td->cd", block, block)
        before = self._peaks
        self._low, self._high = np.minimum(block.min(0), self._low), np.maximum(block.max(0), self._high)
        at_peak = self._peaks * SAME
        self._flat[at_peak > before] = 0
        self._flat += ((np.abs(block[1:]) >= at_peak) & (block[1:] == block[:-1])).sum(0)

    def alone(self) -> int | None:
        """The channel to be taken alone, the loudest, where their mean would cancel; else None."""
        channels = len(self._sums)
        if channels == 1:
            return None
        # Without offsets, which add up where the sound itself cancels, but for what rounding leaves of nothing but an offset.
        gram = self._gram - np.outer(self._sums, self._sums) / max(1, self.frames)
        mean, energies = np.full(channels, 1 / channels), np.diag(gram)
        audible = energies.mean() > ROUNDING * self._gram.trace()
        if not audible or mean @ gram @ mean * channels >= CANCELLING * energies.mean():
            self._alone = -1
        elif self._alone < 0 or energies[self._alone] < self._kept * energies.max():
            self._alone = int(energies.argmax())
        return None if self._alone < 0 else self._alone

    def weights(self) -> NDArray[np.float64]:
        """Factors of the channels before they are added: their mean, or the loudest alone where they cancel. (channels,)."""
        channels, alone = len(self._sums), self.alone()
        if alone is None:
            return np.full(channels, 1 / channels)
        weights: NDArray[np.float64] = (np.arange(channels) == alone).astype(np.float64)
        return weights

    def extremes(self) -> tuple[float, float]:
        """Lowest and highest sample of the one channel, or what they lie within."""
        weights = self.weights()
        return float(weights @ self._low), float(weights @ self._high)

    def condition(self) -> Condition:
        """Condition to put the one channel in before a network."""
        weights = self.weights()
        frames = max(1, self.frames)
        mean, energy = float(weights @ self._sums) / frames, float(weights @ self._gram @ weights) / frames
        return condition_of(mean, energy, self.extremes(), self.frames / self.sample_rate)

    def notes(self) -> list[str]:
        """Notes on the sound, one line each."""
        found, alone, channels = [], self.alone(), len(self._sums)
        if channels > 1:
            cancelling = f"{channels} channels of opposite polarity, which would cancel: channel {(alone or 0) + 1} taken"
            found.append(f"{channels} channels averaged to one" if alone is None else cancelling)
        if self.frames and not self._peaks.any():
            found.append("silent")
        flat = self._flat[(self._peaks >= CLIPPED[0]) & (self._peaks <= CLIPPED[1])].sum() / max(1, self.frames * channels)
        if flat >= LEAST_CLIPPED:
            found.append(f"clipped: {flat:.2%} of its samples lie flat at full scale")
        return found
