"""Spikes of 0 or 1 whose worth falls by half from step to step: a train of N_s steps is a number of N_s binary digits."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from separator.snn.spikes.binary import set_bits
from separator.snn.spikes.trains import Spikes

MOST_DIGITS = 7  # of a train, as one signed byte holds its sum


class WeightedSpikes(Spikes):
    """Trains in which a spike at step t is worth 2^(N_s - 1 - t), so that the sums of trains say when their spikes are.

    Args:
        window: time steps N_s, at most 7.
        sums: (B, ...), int8, from 0 to 2^N_s - 1.
    """

    def __init__(self, window: int, sums: Tensor) -> None:
        self.window, self._sums = window, sums

    @classmethod
    def pack(cls, trains: Tensor) -> Self:
        """From the spikes of each step, 0 or what they are worth there, time in front. Shape: (N_s, B, ...)."""
        return cls(len(trains), trains.sum(0).to(torch.int8))

    @classmethod
    def in_front(cls, values: Tensor, window: int) -> Self:
        """From the sum of each train, whose steps follow from it. Shape: (B, ...)."""
        return cls(window, values.to(torch.int8))

    @property
    def parts(self) -> tuple[Tensor]:
        """Sums of the trains. Shape: (B, ...), int8."""
        return (self._sums,)

    def with_parts(self, parts: Sequence[Tensor]) -> Self:
        """Other trains of the same window, by their sums. Shape: (B, ...)."""
        return type(self)(self.window, parts[0])

    @property
    def values(self) -> Tensor:
        """Sum of the spikes of each train. Shape: (B, ...), int8."""
        return self._sums

    @property
    def events(self) -> Tensor:
        """Number of spikes of each train. Shape: (B, ...), int8."""
        return set_bits(self._sums.int())

    def at(self, t: int) -> Tensor:
        """Spikes of one step, 0 or what they are worth there. Shape: (B, ...), float32."""
        return (self._sums & (1 << (self.window - 1 - t))).float()
