"""What a layer keeps of a signal that comes piece by piece along its last dimension, time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from separator.snn.spikes.trains import Spikes, joined

Handed = Tensor | Spikes

MOST_KEPT = 2  # times the memory that is needed, of which no copy is made
# Positions of a piece that is put where there is room for it, and that room is made for at a time. To join a larger one to
# what is held takes longer than the calls that this is made of.
SMALL, ROOM = 32, 128


class Held:
    """The end of a signal, to be seen with what comes next.

    What was given stays as it is: each position of the memory is written once.

    Args:
        reach: positions that are kept, at most.
    """

    def __init__(self, reach: int) -> None:
        self.reach = reach
        self.memory: Handed | None = None  # of the signal up to `end`; what is behind it is room
        self.end = self.size = 0  # positions up to where the signal and its room go
        self._kinds: list[torch.dtype] = []  # of the tensors that the memory is made of
        self._arrays: list[NDArray[Any]] | None = None  # these for numpy, where it is used

    def add(self, piece: Handed, *more: Handed) -> Handed:
        """Take the next piece, and more of them, give them behind what was kept. Shape: (B, C, ..., n) -> (B, C, ..., m)."""
        parts = _parts(piece)
        first, start, end = max(0, self.end - self.reach), self.end, self.end + parts[0].shape[-1]
        if end <= self.size and not more and [part.dtype for part in parts] == self._kinds:
            self.end = end
            return _like(piece, self._written(parts, first, start, end))
        seen = in_time([piece, *more] if self.memory is None else [_part(self.memory, first, start), piece, *more])
        length = seen.shape[-1]
        if length - (start - first) <= SMALL:
            self._keep(in_time([seen, silence(seen, ROOM)]), length)
        else:
            kept = _cut(seen, max(0, length - self.reach))
            self._keep(kept, kept.shape[-1])
        return seen

    def _keep(self, memory: Handed, end: int) -> None:
        parts = _parts(memory)
        self.memory, self.end, self.size = memory, end, parts[0].shape[-1]
        self._kinds = [part.dtype for part in parts]
        self._arrays = [part.numpy() for part in parts] if all(map(_by_numpy, parts)) else None

    def _written(self, parts: tuple[Tensor, ...], first: int, start: int, end: int) -> list[Tensor]:
        """What is seen from the first position on, once parts of a piece are put from start to end."""
        if self._arrays is None:
            assert self.memory is not None
            for own, part in zip(_parts(self.memory), parts, strict=True):
                own.narrow(-1, start, end - start).copy_(part)
            return [own.narrow(-1, first, end - first) for own in _parts(self.memory)]
        for array, part in zip(self._arrays, parts, strict=True):
            array[..., start:end] = part.numpy()
        return [torch.from_numpy(array[..., first:end]) for array in self._arrays]


def silence(like: Handed, positions: int) -> Handed:
    """Zeros at so many positions. Shape: (B, C, ..., n) -> (B, C, ..., positions)."""

    def zeros(tensor: Tensor) -> Tensor:
        batch, channels, *others, _ = tensor.shape
        return tensor.new_zeros((batch, *others, positions, channels)).movedim(-1, 1)

    return zeros(like) if isinstance(like, Tensor) else like.each(zeros)


def in_time(pieces: list[Handed]) -> Handed:
    """Pieces one behind another along time. Shapes: (B, ..., n) -> (B, ..., m)."""
    if len(pieces) == 1:
        return pieces[0]
    spikes = [piece for piece in pieces if isinstance(piece, Spikes)]
    return joined(spikes, -1, _joined) if spikes else _joined([piece for piece in pieces if isinstance(piece, Tensor)], -1)


def _parts(piece: Handed) -> tuple[Tensor, ...]:
    return (piece,) if isinstance(piece, Tensor) else piece.parts


def _like(piece: Handed, parts: Sequence[Tensor]) -> Handed:
    """A signal as a piece is, made of these tensors."""
    return parts[0] if isinstance(piece, Tensor) else piece.with_parts(parts)


def _part(piece: Handed, first: int, end: int) -> Handed:
    """Positions from one to before another."""
    return _like(piece, [part.narrow(-1, first, end - first) for part in _parts(piece)])


def _cut(piece: Handed, first: int) -> Handed:
    """Part of a piece from a position on, in memory of its own if the whole is much larger, so that this is not kept."""
    kept = _part(piece, first, piece.shape[-1])
    if piece.shape[-1] <= MOST_KEPT * kept.shape[-1]:
        return kept
    return _like(kept, [_joined([part], -1) for part in _parts(kept)])


def _joined(pieces: list[Tensor], dimension: int) -> Tensor:
    """Joined in memory of its own."""
    if _by_numpy(pieces[0]):
        return torch.from_numpy(np.concatenate([piece.numpy() for piece in pieces], dimension))
    return torch.cat(pieces, dimension)


def _by_numpy(piece: Tensor) -> bool:
    """True of whole numbers on a CPU: torch's threads, woken for a copy, spin for milliseconds that the next kernel's lack."""
    return piece.device.type == "cpu" and not piece.is_floating_point()
