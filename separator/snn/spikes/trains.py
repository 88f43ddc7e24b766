"""Interface of spike trains, common to all of their representations."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Self

import torch
from torch import Tensor

LONGEST = 32  # time steps of a window; longer runs are chains of windows


class Spikes(ABC):
    """The spike trains of a layer over a time window of at most `LONGEST` steps.

    A spike is a whole number, mostly 1, which stands for so many times the scale of the neuron that fires it.
    """

    window: int

    @classmethod
    @abstractmethod
    def pack(cls, trains: Tensor) -> Self:
        """From the spikes of each step, time in front. Shape: (N_s, B, ...)."""

    @classmethod
    @abstractmethod
    def in_front(cls, values: Tensor, window: int) -> Self:
        """Trains whose spikes come as early as they can, from the sum of each. Shape: (B, ...)."""

    @property
    @abstractmethod
    def values(self) -> Tensor:
        """Sum of the spikes of each train: times the scale, the activation. Shape: (B, ...), a type of whole numbers."""

    @property
    @abstractmethod
    def events(self) -> Tensor:
        """Number of spikes of each train, whatever they are worth. Shape: (B, ...), a type of whole numbers."""

    @abstractmethod
    def at(self, t: int) -> Tensor:
        """Spikes of one step. Shape: (B, ...), float32."""

    def events_by_step(self) -> Tensor:
        """Number of spikes of all trains at each step, whatever they are worth. Shape: (N_s,), int64."""
        return torch.stack([torch.count_nonzero(step) for step in self.steps()])

    @property
    @abstractmethod
    def parts(self) -> tuple[Tensor, ...]:
        """All tensors that it is made of, of one shape (B, ...) each; zeros are silence."""

    @abstractmethod
    def with_parts(self, parts: Sequence[Tensor]) -> Self:
        """Other trains of the same window, made of such tensors."""

    @property
    def shape(self) -> torch.Size:
        """Shape (B, ...) of the neurons."""
        return self.parts[0].shape

    def steps(self) -> Iterator[Tensor]:
        """Spikes of each step. Shape: (B, ...), float32."""
        return (self.at(t) for t in range(self.window))

    def trains(self) -> Tensor:
        """Spikes, time in front. Shape: (N_s, B, ...), float32."""
        return torch.stack(list(self.steps()))

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same with all tensors that it is made of changed alike, such as moved, cut or padded."""
        return self.with_parts([change(part) for part in self.parts])

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        return self.each(lambda part: part.to(device))

    def alike(self, others: "Sequence[Spikes]") -> "list[Spikes]":
        """It and others, made of the same kinds of tensors, to be joined."""
        return [self, *others]


def joined(pieces: Sequence[Spikes], dimension: int, join: Callable[[list[Tensor], int], Tensor] = torch.cat) -> Spikes:
    """Trains of several sets of neurons as those of one, along a dimension of (B, ...).

    Args:
        pieces: at least one; all of one window and representation.
        dimension: that they are joined along.
        join: joins tensors.
    """
    same = pieces[0].alike(pieces[1:])
    parts = zip(*[piece.parts for piece in same], strict=True)
    return same[0].with_parts([join(list(part), dimension) for part in parts])
