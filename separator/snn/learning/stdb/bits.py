"""Spikes of a population over a run, one bit for each neuron and step."""

from collections.abc import Sequence

import torch
from torch import Tensor

STEPS = 8  # of a block: as many bits as a byte has


def packed(spikes: Tensor) -> Tensor:
    """Spikes 0 or 1 of at most 8 steps, step t in bit t. Shape: (K, B, ...) -> (B, ...), uint8."""
    byte = spikes[0].to(torch.uint8)
    for t, step in enumerate(spikes[1:], 1):
        byte.bitwise_or_(step.to(torch.uint8).bitwise_left_shift_(t))
    return byte


def unpacked(byte: Tensor, steps: int, kind: torch.dtype) -> Tensor:
    """Spikes 0 or 1 of so many steps. Shape: (B, ...) -> (K, B, ...), of a type."""
    spikes = torch.empty(steps, *byte.shape, dtype=kind, device=byte.device)
    for t in range(steps):
        spikes[t] = byte.bitwise_right_shift(t).bitwise_and_(1)
    return spikes


class Trace:
    """What a population keeps of a run, block after block.

    Args:
        steps: time steps of the run.
        keep_potentials: whether the potentials that blocks begin with are kept too, for derivatives that ask for them.
        blocks: of the run; None where all but the last are as long as blocks are.
    """

    def __init__(self, steps: int, keep_potentials: bool = False, blocks: int | None = None) -> None:
        self.steps, self.keep_potentials = steps, keep_potentials
        self.blocks = -(-steps // STEPS) if blocks is None else blocks
        # Bytes of all blocks are allocated at once: one by one, between what is soon freed, they took four times their size.
        self.room: Tensor | None = None
        self.starts: list[int] = []  # first step of each block
        self.bytes: list[Tensor] = []  # spikes of each block, (B, ...)
        self.potentials: list[Tensor] = []  # potentials after the step before each block, (B, ...)

    def add(self, first: int, spikes: Tensor, before: Tensor) -> None:
        """Keep a block.

        Args:
            first: step.
            spikes: 0 or 1, (K, B, ...).
            before: potential after the step before, (B, ...).
        """
        self.starts.append(first)
        byte = packed(spikes)
        if self.room is None:
            self.room = byte.new_empty(self.blocks, *byte.shape)
        self.bytes.append(self.room[len(self.bytes)].copy_(byte))
        if self.keep_potentials:
            self.potentials.append(before)

    def spikes(self, block: int, steps: int, kind: torch.dtype) -> Tensor:
        """Spikes of a block. Shape: (K, B, ...)."""
        return unpacked(self.bytes[block], steps, kind)

    def fired_before(self, block: int, kind: torch.dtype) -> Tensor:
        """Spikes of the step before a block. Shape: (B, ...)."""
        if block == 0:
            return torch.zeros_like(self.bytes[0], dtype=kind)
        last = self.starts[block] - self.starts[block - 1] - 1
        return self.bytes[block - 1].bitwise_right_shift(last).bitwise_and_(1).to(kind)

    def ages(self, block: int) -> Tensor:
        """Steps since the last spike, as of the step before a block; as many as the run has where there was none yet.

        Shape: (B, ...), int32.
        """
        return ages_after(self.bytes[:block], self.starts[: block + 1], self.steps)


def ages_after(blocks: Sequence[Tensor], starts: Sequence[int], never: int) -> Tensor:
    """Steps since the last spike as of the end of some blocks. Shape: (B, ...), int32.

    Args:
        blocks: bytes of each, (B, ...).
        starts: first step of each, and of the one that follows.
        never: what stands for no spike at all.
    """
    if not blocks:
        return torch.tensor(never, dtype=torch.int32)
    last = torch.zeros(blocks[0].numel(), dtype=torch.int32, device=blocks[0].device)  # 1 more than the step; 0 for none
    for byte, start in zip(blocks, starts, strict=False):
        steps = [start + number.bit_length() if number else 0 for number in range(1 << STEPS)]
        torch.maximum(last, looked_up(last.new_tensor(steps), byte).flatten(), out=last)
    return (starts[-1] - last).masked_fill_(last == 0, never).view(blocks[0].shape)


def looked_up(table: Tensor, places: Tensor) -> Tensor:
    """Entries of a table (N,) at whole numbers. Shape: as theirs."""
    return torch.index_select(table, 0, places.flatten().to(torch.int32)).view(places.shape)
