"""Spiking layers of a stack that is being converted, over a whole run: what they fire is kept, and none is simulated twice."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from separator.errors import UserError
from separator.snn.coding.inputs import CurrentCoding, SpikeCoding
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.shapes import per_channel
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.neurons.neuron import State
from separator.snn.spikes.trains import Spikes
from separator.snn.stack.connected import ConnectedLayers
from separator.snn.stack.graph import INPUT, forget_unseen
from separator.snn.stack.simulation import Handed, continued, incoming_of, presented, windows_of

AT_ONCE = 2**24  # currents that are looked at at a time


class RecordedRun:
    """Runs of the first, spiking layers of a stack on calibration batches.

    The trains of a layer are kept, packed, from when currents behind it are first asked for until no later layer sees them.

    Args:
        stack: in which layers become spiking one after the other.
        batches: inputs of the stack.
        dynamics: of all of its layers.
    """

    def __init__(self, stack: ConnectedLayers, batches: Sequence[Tensor], dynamics: Dynamics) -> None:
        self.stack, self.batches, self.dynamics = stack, batches, dynamics
        self.done = 0  # layers that have run
        self.kept: list[dict[int, list[Spikes]]] = [{} for _ in batches]

    def currents(self, index: int, layer: AnalogLayer) -> Iterator[Tensor]:
        """Currents of the neurons of a layer, those before which are spiking, of some steps and one batch after another.

        They are whole numbers of quanta, and so the same on every machine. Shape: (steps, B, C, ...), in units of activation.

        Raises:
            UserError: the layer is the first, and its input comes all at once.
        """
        coding = self.dynamics.input_coding
        if index == 0 and isinstance(coding, CurrentCoding):
            if not coding.steady:
                raise UserError("thresholds that are set from currents need spikes before them: code the input by spikes")
            share = float(coding.share(0, self.dynamics.window))
            return (layer.preactivation(x)[None] * share for x in self.batches)
        while self.done < index:
            self._run(self.done)
            self.done += 1
        own, beside = self.stack.scales(index, self.batches[0], self.dynamics)
        assert own is not None
        probe = SpikingLayer.convert(layer, "readout", own, torch.ones(1, device=own.device), self.dynamics, beside=beside)
        return (
            currents
            for number in range(len(self.batches))
            for incoming, held, _, _ in self._incoming(number, index)
            for currents in _by_steps(probe, incoming, held)
        )

    def _incoming(self, number: int, index: int) -> Iterator[tuple[Handed, Spikes | None, int, int]]:
        """What a layer and its shortcut see of a batch, window by window, and the first step and length of each."""
        maps, spikes = self.stack.sources[index], isinstance(self.dynamics.input_coding, SpikeCoding)
        for window, (first, steps) in enumerate(windows_of(self.dynamics.window)):
            handed: dict[int, Handed] = {i: trains[window] for i, trains in self.kept[number].items()}
            if index == 0:
                x = self.batches[number]
                handed[INPUT] = presented(self.dynamics, x, first, steps) if spikes else x
            yield *incoming_of(maps, handed), first, steps

    def _run(self, index: int) -> None:
        """Simulate a layer on all batches."""
        layer = self.stack.layers[index]
        assert isinstance(layer, SpikingLayer)
        for number, kept in enumerate(self.kept):
            state: State = None
            trains: list[Spikes] = []
            for incoming, beside, first, steps in self._incoming(number, index):
                outcome, state = continued(index, layer, incoming, beside, state, first, steps)
                assert isinstance(outcome, Spikes)
                trains.append(outcome)
            kept[index] = trains
            forget_unseen(kept, self.stack.sources, index + 1)


def _by_steps(probe: SpikingLayer, incoming: Handed, beside: Spikes | None) -> Iterator[Tensor]:
    """Currents of a window, as many steps at a time as memory shall take; the first one tells how many neurons there are."""
    assert isinstance(incoming, Spikes)
    first, steps = 0, 1
    while first < incoming.window:
        places = range(first, min(first + steps, incoming.window))
        seen, held = (None if spikes is None else torch.cat([spikes.at(t) for t in places]) for spikes in (incoming, beside))
        assert seen is not None
        flat = probe.current(seen, held)
        currents = (flat * per_channel(probe.quantum.to(flat.dtype), flat)).view(len(places), -1, *flat.shape[1:])
        yield currents
        first, steps = places.stop, max(1, AT_ONCE // currents[0].numel())
