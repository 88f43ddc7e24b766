"""A stack run piece by piece along the last dimension of its input, time: each layer keeps what its next outputs still see."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.execution.chosen import EVENT_DRIVEN, FASTEST, chosen_execution, execution
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.spikes.trains import LONGEST, Spikes
from separator.snn.stack.graph import is_row
from separator.snn.stack.held import Handed, Held, silence
from separator.snn.stack.simulation import run_layer
from separator.snn.stack.stack import Stack


class StackStream:
    """The outcome of a stack on an input that comes piece by piece.

    Joined, the pieces are the outcome on the whole input: to the bit if the stack is spiking, else but for rounding.

    Args:
        stack: in evaluation mode, wholly analog or wholly spiking; not to be changed meanwhile.
        live: pieces are so small that a layer takes the time of the calls it is made of; then it is run by the execution of the
            fewest, where none was chosen.

    Raises:
        UserError: runs are longer than a window, or input is coded by spikes.
        ValueError: a layer is in tandem, has no dimension of time, or another number of outputs than of inputs along it.
    """

    def __init__(self, stack: Stack, live: bool = False) -> None:
        if not is_row(stack.sources):
            raise ValueError("a stack is streamed if each layer sees the one before")
        if stack.dynamics is not None and (stack.dynamics.window > LONGEST or stack.dynamics.first_role != "encode"):
            raise UserError(f"a network is streamed if it runs for at most {LONGEST} time steps on input as currents")
        self.stack, self.live = stack, live
        self.layers = [_LayerStream(layer) for layer in stack.layers]
        if (
            self._is_event_driven
        ):  # laid out here, not while sound waits; what comes before the stack sees that kernels are there
            for layer in (stream.layer for stream in self.layers):
                if isinstance(layer, SpikingLayer) and layer.role != "encode":
                    layer.compiled_for(EVENT_DRIVEN, False)

    @property
    def _is_event_driven(self) -> bool:
        """True if layers are to run by the execution of the fewest calls."""
        return self.live and chosen_execution() == FASTEST

    @property
    def look_ahead(self) -> int:
        """Positions of the input after it that a position of the outcome waits for."""
        return sum(layer.after for layer in self.layers)

    @torch.no_grad()
    def push(self, x: Tensor, last: bool = False) -> Tensor | None:
        """Take the next positions, the end if `last`; give what is ready, if anything. Shape: (B, ..., n) -> (B, ..., m)."""
        with execution(EVENT_DRIVEN) if self._is_event_driven else nullcontext():
            outcome = self._run(x, last)
        if outcome is None:
            return None
        read = self.stack.layers[-1]
        if isinstance(outcome, Spikes) and isinstance(read, SpikingLayer):
            outcome = read.activation(outcome)
        assert isinstance(outcome, Tensor)
        return outcome if isinstance(read, AnalogLayer) else self.stack.read(outcome)

    def _run(self, x: Tensor, last: bool) -> Handed | None:
        """What the last layer hands on."""
        signal: Handed | None = x if x.shape[-1] else None
        for position, stream in enumerate(self.layers):
            incoming = stream.take(signal, last)
            if incoming is None:
                signal = None
            elif isinstance(stream.layer, SpikingLayer):
                signal = run_layer(position, stream.layer, incoming, self.stack.observer, padding=stream.padding)
            else:
                assert isinstance(incoming, Tensor)
                signal = stream.analog(incoming)
        return signal


class _LayerStream:
    """One layer, and the end of its input so far."""

    def __init__(self, layer: nn.Module) -> None:
        if isinstance(layer, SpikingLayer):
            apply, taps = layer.apply_affine, layer.weight.shape[2:]
        elif isinstance(layer, AnalogLayer):
            apply, taps = layer.synapses, layer.affine.weight.shape[2:]
            if layer.before:
                raise ValueError(f"a layer is streamed if nothing stands before its affine layer, not {layer.before[0]}")
        else:
            raise ValueError(f"a stack is streamed if it is wholly analog or spiking; this one has a {type(layer).__name__}")
        if not taps:
            raise ValueError("a linear layer has no dimension of time to be streamed along")
        if isinstance(layer, AnalogLayer | SpikingLayer) and _reaches_along_time(layer):
            raise ValueError("a layer is streamed if its shortcut sees each output's own position alone")
        self.reach = apply.dilation[-1] * (taps[-1] - 1)  # positions before an output's last one that it sees
        self.before, self.after = apply.padding[-1]
        if apply.stride[-1] != 1 or self.before + self.after != self.reach:
            raise ValueError(f"a layer is streamed if it has as many outputs as inputs along time; this one is {apply}")
        # The zeros around the input are put there as it comes, so that the layer always runs without padding.
        self.layer = layer.with_time_padding(0, 0) if isinstance(layer, SpikingLayer) else layer
        self.apply = apply.with_time_padding(0, 0)
        self.held = Held(self.reach) if self.reach else None  # of the input, zeros before it included
        self.taken = 0  # positions of the input
        self.padding = (0, 0)  # zeros before and after the input that were taken last

    def analog(self, incoming: Tensor) -> Tensor:
        """Activation of an analog layer, from input as `take` gives it. Shape: (B, ..., n) -> (B, ..., m)."""
        layer = self.layer
        assert isinstance(layer, AnalogLayer)
        sums = self.apply(incoming, layer.affine.weight, layer.affine.bias)
        # The shortcut sees each output's own position alone.
        own = incoming if layer.shortcut is None else incoming[..., self.before : incoming.shape[-1] - self.after]
        return layer.activated(layer.joined(sums, own))

    def take(self, signal: Handed | None, last: bool) -> Handed | None:
        """Input that the next outputs see, zeros before and after all of it included; None if there is no such output yet."""
        if self.held is None:  # outputs see their own position alone
            return signal
        like = self.held.memory if signal is None else signal
        if like is None:
            return None
        if self.held.memory is None and self.before:
            self.held.add(silence(like, self.before))
        pieces = [] if signal is None else [signal]
        if last and self.after:
            pieces.append(silence(like, self.after))
        if not pieces:
            return None
        seen = self.held.add(*pieces)
        self.taken += 0 if signal is None else signal.shape[-1]
        after = self.after if last else 0
        self.padding = max(0, seen.shape[-1] - self.taken - after), after
        return seen if seen.shape[-1] > self.reach else None


def _reaches_along_time(layer: AnalogLayer | SpikingLayer) -> bool:
    """True if a shortcut sees more than one position, or another one than the output's."""
    if isinstance(layer, SpikingLayer):
        others = [(other.apply, other.weight.shape[2:]) for other in layer.maps[1:]]
    else:
        others = [(other.synapses, other.affine.weight.shape[2:]) for other in layer.with_shortcut()[1:]]
    return any(taps and (taps[-1] != 1 or apply.stride[-1] != 1 or apply.padding[-1] != (0, 0)) for apply, taps in others)
