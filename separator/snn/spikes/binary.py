"""Spike trains, packed: a neuron's train of at most 32 steps is one 32-bit word, step t in bit t."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

LONGEST = 32  # steps


class Spikes:
    """The spike trains of a layer over a time window.

    Where the spikes of each train come first, one a step, counts alone say it all, and words are made when they are needed.

    Args:
        window: time steps N_s, at most 32.
        words: (B, ...), int32.
        counts: (B, ...), int8, given in place of words.

    Raises:
        ValueError: the window is over 32 steps.
    """

    def __init__(self, window: int, words: Tensor | None = None, counts: Tensor | None = None) -> None:
        if window > LONGEST:
            raise ValueError(f"a 32-bit word holds {LONGEST} time steps, not {window}")
        self.window, self._words, self._counts = window, words, counts
        self._in_front = words is None

    @classmethod
    def pack(cls, trains: Tensor) -> "Spikes":
        """From spikes 0 or 1, time in front. Shape: (N_s, B, ...)."""
        spikes = cls(len(trains), words=torch.zeros_like(trains[0], dtype=torch.int32))
        for t, step in enumerate(trains):
            spikes.words.bitwise_or_(step.to(torch.int32) << t)
        return spikes

    @property
    def numbers(self) -> Tensor:
        """What says it all: counts where the spikes of each train come first, else words. Shape: (B, ...)."""
        return self.counts if self._in_front else self.words

    def with_numbers(self, numbers: Tensor) -> "Spikes":
        """Other trains of the same kind, by their `numbers`. Shape: (B, ...)."""
        return Spikes(self.window, counts=numbers) if self._in_front else Spikes(self.window, words=numbers)

    @property
    def words(self) -> Tensor:
        """Packed trains. Shape: (B, ...), int32."""
        if self._words is None:
            # 32 ones are shifted as 64 bits, since they do not fit in a positive 32-bit number.
            whole = self.counts.to(torch.int64 if self.window == LONGEST else torch.int32)
            self._words = (1 << whole).sub_(1).to(torch.int32)
        return self._words

    @property
    def counts(self) -> Tensor:
        """Spikes of each train. Shape: (B, ...), int8."""
        if self._counts is None:
            self._counts = _set_bits(self.words)
        return self._counts

    def at(self, t: int) -> Tensor:
        """Spikes 0 or 1 of one step. Shape: (B, ...), float32."""
        return ((self.words >> t) & 1).float()

    def steps(self) -> Iterator[Tensor]:
        """Spikes of each step."""
        return (self.at(t) for t in range(self.window))

    def trains(self) -> Tensor:
        """Spikes, time in front. Shape: (N_s, B, ...), float32."""
        return torch.stack(list(self.steps()))

    def to(self, device: torch.device | str) -> "Spikes":
        """The same on another device, packed."""
        return Spikes(self.window, self.words.to(device))


def _set_bits(words: Tensor) -> Tensor:
    """How many bits of each word are set, int8."""
    if words.device.type == "cpu":
        counts = np.bitwise_count(words.numpy().view(np.uint32))
        return torch.from_numpy(counts.view(np.int8))
    # Summed in pairs, nibbles and bytes.
    pairs = words - ((words >> 1) & 0x55555555)
    nibbles = (pairs & 0x33333333) + ((pairs >> 2) & 0x33333333)
    octets = (nibbles + (nibbles >> 4)) & 0x0F0F0F0F
    return ((octets * 0x01010101) >> 24).to(torch.int8)
