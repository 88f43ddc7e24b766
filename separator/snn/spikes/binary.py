"""Spikes of 0 or 1, packed: a neuron's train of at most 32 steps is one 32-bit word, step t in bit t."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from separator.snn.spikes.trains import LONGEST, Spikes


class BinarySpikes(Spikes):
    """Trains of spikes that are 0 or 1.

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
    def pack(cls, trains: Tensor) -> Self:
        """From spikes 0 or 1, time in front. Shape: (N_s, B, ...)."""
        spikes = cls(len(trains), words=torch.zeros_like(trains[0], dtype=torch.int32))
        for t, step in enumerate(trains):
            spikes.words.bitwise_or_(step.to(torch.int32) << t)
        return spikes

    @classmethod
    def in_front(cls, values: Tensor, window: int) -> Self:
        """From the number of spikes of each train, which come first, one a step. Shape: (B, ...), int8."""
        return cls(window, counts=values)

    @property
    def parts(self) -> tuple[Tensor]:
        """The tensor that says it all: counts where the spikes of each train come first, else words. Shape: (B, ...)."""
        return (self.counts if self._in_front else self.words,)

    def with_parts(self, parts: Sequence[Tensor]) -> Self:
        """Other trains of the same kind, by their counts or words. Shape: (B, ...)."""
        return type(self)(self.window, None if self._in_front else parts[0], parts[0] if self._in_front else None)

    def alike(self, others: Sequence[Spikes]) -> list[Spikes]:
        """It and others, all by their counts if that is all they are, else by their words."""
        pieces = [piece for piece in (self, *others) if isinstance(piece, BinarySpikes)]
        if all(piece._in_front for piece in pieces):
            return list(pieces)
        return [BinarySpikes(self.window, words=piece.words) for piece in pieces]

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
        """Number of spikes of each train. Shape: (B, ...), int8."""
        if self._counts is None:
            self._counts = set_bits(self.words)
        return self._counts

    @property
    def values(self) -> Tensor:
        """The same as `counts`."""
        return self.counts

    @property
    def events(self) -> Tensor:
        """The same as `counts`."""
        return self.counts

    def events_by_step(self) -> Tensor:
        """Number of spikes of all trains at each step. Shape: (N_s,), int64."""
        return set_bits_by_place(self.words)[: self.window]

    def at(self, t: int) -> Tensor:
        """Spikes 0 or 1 of one step. Shape: (B, ...), float32."""
        return ((self.words >> t) & 1).float()


def set_bits_by_place(words: Tensor) -> Tensor:
    """Number of words that have each bit set, (32,), int64; from how often each byte occurs. Shape of the words: any."""
    values = torch.arange(256, device=words.device)
    bits = (values[:, None] >> torch.arange(8, device=words.device)) & 1  # (256, 8)
    occur = [torch.bincount(((words.flatten() >> shift) & 255), minlength=256) for shift in (0, 8, 16, 24)]
    return torch.cat([(times[:, None] * bits).sum(0) for times in occur])


def set_bits(words: Tensor) -> Tensor:
    """Number of bits of each word, int32, that are set, int8. Shape: any."""
    if words.device.type == "cpu":
        counts = np.bitwise_count(words.numpy().view(np.uint32))
        return torch.from_numpy(counts.view(np.int8))
    # Summed in pairs, nibbles and bytes.
    pairs = words - ((words >> 1) & 0x55555555)
    nibbles = (pairs & 0x33333333) + ((pairs >> 2) & 0x33333333)
    octets = (nibbles + (nibbles >> 4)) & 0x0F0F0F0F
    return ((octets * 0x01010101) >> 24).to(torch.int8)
