"""Augmented spikes: each carries a coefficient, so many spikes of one sign at once (Yu et al. 2020, section II-C)."""

from collections.abc import Sequence
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from separator.snn.spikes.trains import Spikes

LARGEST = 127  # coefficient, as one byte holds it


class AugmentedSpikes(Spikes):
    """Trains of spikes that are whole numbers from -127 to 127.

    Args:
        window: time steps N_s.
        coefficients: one tensor a step, (B, ...) each, int8.
        values: (B, ...), int16, given in place of these where spikes come as early as they can.
        boundary: largest coefficient of such trains.
    """

    def __init__(
        self, window: int, coefficients: Sequence[Tensor] | None = None, values: Tensor | None = None, boundary: int = LARGEST
    ) -> None:
        self.window, self.boundary = window, boundary
        self._coefficients, self._in_front = coefficients, values

    @classmethod
    def pack(cls, trains: Tensor) -> Self:
        """From coefficients, time in front. Shape: (N_s, B, ...)."""
        return cls(len(trains), trains.to(torch.int8).unbind())

    @classmethod
    def in_front(cls, values: Tensor, window: int, boundary: int = LARGEST) -> Self:
        """From the sum of each train, whose coefficients are the largest there are until nothing is left. Shape: (B, ...)."""
        return cls(window, values=values.to(torch.int16), boundary=boundary)

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """Coefficients of each step, or the sums of trains whose spikes come first. Shape: (B, ...)."""
        return (self._in_front,) if self._in_front is not None else tuple(self.coefficients)

    def with_parts(self, parts: Sequence[Tensor]) -> Self:
        """Other trains of the same kind, by such tensors. Shape: (B, ...)."""
        if self._in_front is not None:
            return type(self)(self.window, values=parts[0], boundary=self.boundary)
        return type(self)(self.window, parts)

    def alike(self, others: Sequence[Spikes]) -> list[Spikes]:
        """It and others, all by their sums if that is all they are, else by their coefficients."""
        pieces = [piece for piece in (self, *others) if isinstance(piece, AugmentedSpikes)]
        if all(piece._in_front is not None for piece in pieces):
            return list(pieces)
        return [AugmentedSpikes(self.window, piece.coefficients) for piece in pieces]

    @property
    def coefficients(self) -> Sequence[Tensor]:
        """Spikes of each step. Shape: (B, ...), int8 each."""
        if self._coefficients is None:
            assert self._in_front is not None
            most, left = self.boundary, self._in_front
            self._coefficients = [
                (left - left.sign() * most * t).clamp_(-most, most).where(left.abs() > most * t, 0).to(torch.int8)
                for t in range(self.window)
            ]
        return self._coefficients

    @cached_property
    def values(self) -> Tensor:
        """Sum of the coefficients of each train. Shape: (B, ...), int16."""
        if self._in_front is not None:
            return self._in_front
        return torch.stack(list(self.coefficients)).sum(0, dtype=torch.int16)

    @cached_property
    def events(self) -> Tensor:
        """Steps at which a neuron fires, whatever its coefficient. Shape: (B, ...), int16."""
        return torch.stack([step != 0 for step in self.coefficients]).sum(0, dtype=torch.int16)

    def events_by_step(self) -> Tensor:
        """Number of spikes of all trains at each step, whatever their coefficients. Shape: (N_s,), int64."""
        if self.coefficients[0].device.type == "cpu":  # where NumPy is the faster one
            return torch.tensor([np.count_nonzero(step.numpy()) for step in self.coefficients])
        return torch.stack([torch.count_nonzero(step) for step in self.coefficients])

    def bytes(self) -> Tensor:
        """Coefficients, time in front. Shape: (N_s, B, ...), int8; no copy where they lie so in memory."""
        return _one_behind_another(self.coefficients)

    def at(self, t: int) -> Tensor:
        """Coefficients of one step. Shape: (B, ...), float32."""
        return self.coefficients[t].float()

    def trains(self) -> Tensor:
        """Coefficients, time in front. Shape: (N_s, B, ...), float32."""
        return torch.stack(list(self.coefficients)).float()


def _one_behind_another(parts: Sequence[Tensor]) -> Tensor:
    """Tensors of one shape as one. Shape: (n, ...)."""
    first = parts[0]
    step = (parts[-1].storage_offset() - first.storage_offset()) // max(1, len(parts) - 1)
    for n, part in enumerate(parts):
        kept = part.data_ptr() - first.data_ptr(), part.storage_offset(), part.stride()
        at = n * step, first.storage_offset() + n * step, first.stride()
        if part.untyped_storage().data_ptr() != first.untyped_storage().data_ptr() or kept != at:
            return torch.stack(list(parts))
    return first.as_strided((len(parts), *first.shape), (step, *first.stride()), first.storage_offset())
