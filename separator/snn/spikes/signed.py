"""Spikes of -1, 0 or 1: two trains, of positive and of negative spikes."""

from collections.abc import Sequence
from typing import Self

from torch import Tensor

from separator.snn.spikes.binary import BinarySpikes, set_bits_by_place
from separator.snn.spikes.trains import Spikes


class SignedSpikes(Spikes):
    """Trains of spikes of either sign (Yu et al. 2020, Eq. 2).

    Args:
        up: positive spikes.
        down: negative ones, in the same window.
    """

    def __init__(self, up: BinarySpikes, down: BinarySpikes) -> None:
        self.window, self.up, self.down = up.window, up, down

    @classmethod
    def pack(cls, trains: Tensor) -> Self:
        """From spikes -1, 0 or 1, time in front. Shape: (N_s, B, ...)."""
        return cls(BinarySpikes.pack(trains > 0), BinarySpikes.pack(trains < 0))

    @classmethod
    def in_front(cls, values: Tensor, window: int) -> Self:
        """From the sum of each train, whose spikes are of one sign and come first, one a step. Shape: (B, ...)."""
        up, down = values.clamp_min(0), values.neg().clamp_min_(0)
        return cls(BinarySpikes.in_front(up.byte().char(), window), BinarySpikes.in_front(down.byte().char(), window))

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """Those of the positive spikes, then those of the negative ones. Shape: (B, ...)."""
        return *self.up.parts, *self.down.parts

    def with_parts(self, parts: Sequence[Tensor]) -> Self:
        """Other trains of the same kind, by such tensors. Shape: (B, ...)."""
        return type(self)(self.up.with_parts(parts[:1]), self.down.with_parts(parts[1:]))

    def alike(self, others: Sequence[Spikes]) -> list[Spikes]:
        """It and others, all by their counts if that is all they are, else by their words."""
        pieces = [piece for piece in (self, *others) if isinstance(piece, SignedSpikes)]
        ups = pieces[0].up.alike([piece.up for piece in pieces[1:]])
        downs = pieces[0].down.alike([piece.down for piece in pieces[1:]])
        return [
            SignedSpikes(up, down)
            for up, down in zip(ups, downs, strict=True)
            if isinstance(up, BinarySpikes) and isinstance(down, BinarySpikes)
        ]

    @property
    def values(self) -> Tensor:
        """Positive spikes less negative ones. Shape: (B, ...), int8."""
        return self.up.counts - self.down.counts

    @property
    def events(self) -> Tensor:
        """Spikes of either sign. Shape: (B, ...), int8."""
        return self.up.counts + self.down.counts

    def events_by_step(self) -> Tensor:
        """Number of spikes of all trains at each step, of either sign. Shape: (N_s,), int64."""
        return set_bits_by_place(self.up.words | self.down.words)[: self.window]

    def at(self, t: int) -> Tensor:
        """Spikes -1, 0 or 1 of one step. Shape: (B, ...), float32."""
        return self.up.at(t) - self.down.at(t)
