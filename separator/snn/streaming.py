"""A stack run piece by piece along the last dimension of its input, time: each stage keeps what its next outputs still see."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separator.snn.spikes import Spikes
from separator.snn.spiking import SpikingStage
from separator.snn.stack import Stack, run_stage
from separator.snn.stage import Stage

Signal = Tensor | Spikes


class StackStream:
    """The outcome of a stack on an input that comes piece by piece.

    Joined, the pieces are the outcome on the whole input: to the bit if the stack is spiking, else but for rounding.

    Args:
        stack: in evaluation mode, wholly analog or wholly spiking; not to be changed meanwhile.

    Raises:
        ValueError: a stage is in tandem, has no dimension of time, or another number of outputs than of inputs along it.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.stages = [_StageStream(stage) for stage in stack.stages]

    @property
    def look_ahead(self) -> int:
        """Positions of the input after it that a position of the outcome waits for."""
        return sum(stage.after for stage in self.stages)

    @torch.no_grad()
    def push(self, x: Tensor, last: bool = False) -> Tensor | None:
        """Take the next positions, the end if `last`; give what is ready, if anything. Shape: (B, ..., n) -> (B, ..., m)."""
        signal: Signal | None = x if x.shape[-1] else None
        for position, stream in enumerate(self.stages):
            taken = stream.take(signal, last)
            if taken is None:
                signal = None
                continue
            incoming, zeros = taken
            if isinstance(stream.stage, SpikingStage):
                signal = run_stage(position, stream.stage.with_time_padding(*zeros), incoming, self.stack.observer)
            else:
                assert isinstance(incoming, Tensor)
                signal = stream.analog(incoming, zeros)
        if signal is None:
            return None
        assert isinstance(signal, Tensor)  # the last stage is a readout
        return signal if isinstance(self.stack.stages[-1], Stage) else self.stack.read(signal)


class _StageStream:
    """One stage, and the end of its input so far."""

    def __init__(self, stage: nn.Module) -> None:
        if isinstance(stage, SpikingStage):
            apply, taps = stage.apply_affine, stage.weight.shape[2:]
        elif isinstance(stage, Stage):
            apply, taps = stage.synapses, stage.affine.weight.shape[2:]
            if stage.before:
                raise ValueError(f"a stage is streamed if nothing stands before its affine layer, not {stage.before[0]}")
        else:
            raise ValueError(f"a stack is streamed if it is wholly analog or spiking; this one has a {type(stage).__name__}")
        if not taps:
            raise ValueError("a linear layer has no dimension of time to be streamed along")
        if isinstance(stage, Stage | SpikingStage) and _reaches_along_time(stage):
            raise ValueError("a stage is streamed if its shortcut sees each output's own position alone")
        self.reach = apply.dilation[-1] * (taps[-1] - 1)  # positions before an output's last one that it sees
        self.before, self.after = apply.padding[-1]
        if apply.stride[-1] != 1 or self.before + self.after != self.reach:
            raise ValueError(f"a stage is streamed if it has as many outputs as inputs along time; this one is {apply}")
        self.stage, self.apply = stage, apply
        self.held: Signal | None = None
        self.zeros = self.before  # of the padding that still lie before what is held

    def analog(self, incoming: Tensor, zeros: tuple[int, int]) -> Tensor:
        """Activation of an analog stage where its input is padded with so many zeros. Shape: (B, ..., n) -> (B, ..., m)."""
        stage = self.stage
        assert isinstance(stage, Stage)
        sums = self.apply.with_time_padding(*zeros)(incoming, stage.affine.weight, stage.affine.bias)
        # Outputs stand where the inputs of their own position do: the shortcut sees those alone.
        own = F.pad(incoming, (zeros[0] - self.before, zeros[1] - self.after)) if stage.shortcut is not None else incoming
        return stage.joined(sums, own).relu()

    def take(self, signal: Signal | None, last: bool) -> tuple[Signal, tuple[int, int]] | None:
        """What the next outputs see of the input so far, and zeros before and after it; None if there is no such output yet."""
        like = self.held if signal is None else signal
        if like is None:
            return None
        pieces = [_numbers(piece) for piece in (self.held, signal) if piece is not None]
        seen = _joined(pieces) if len(pieces) > 1 else pieces[0]
        zeros = (self.zeros, self.after if last else 0)
        held = seen[..., max(0, seen.shape[-1] - self.reach) :]
        self.held = _with_numbers(like, _joined([held]))
        self.zeros = min(self.zeros, self.reach - held.shape[-1])
        return (_with_numbers(like, seen), zeros) if seen.shape[-1] + sum(zeros) > self.reach else None


def _reaches_along_time(stage: Stage | SpikingStage) -> bool:
    """Whether a shortcut sees more than one position, or another one than the output's."""
    if isinstance(stage, SpikingStage):
        others = [(other.apply, other.weight.shape[2:]) for other in stage.maps[1:]]
    else:
        others = [(other.synapses, other.affine.weight.shape[2:]) for other in stage.with_shortcut()[1:]]
    return any(taps and (taps[-1] != 1 or apply.stride[-1] != 1 or apply.padding[-1] != (0, 0)) for apply, taps in others)


def _joined(pieces: list[Tensor]) -> Tensor:
    """Along time and in memory of its own, so that what they were part of is not kept. Shapes: (B, ..., n) -> (B, ..., m).

    Spikes on a CPU by numpy: torch's threads, once woken for a copy, spin for milliseconds that the next kernel's threads lack.
    """
    if pieces[0].device.type == "cpu" and not pieces[0].is_floating_point():
        return torch.from_numpy(np.concatenate([piece.numpy() for piece in pieces], -1))
    return torch.cat(pieces, -1)


def _numbers(signal: Signal) -> Tensor:
    return signal if isinstance(signal, Tensor) else signal.numbers


def _with_numbers(like: Signal, numbers: Tensor) -> Signal:
    return numbers if isinstance(like, Tensor) else like.with_numbers(numbers)
