"""The layer that learns by spike-timing-dependent backpropagation."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics, Role
from separator.snn.layers.shapes import per_channel
from separator.snn.layers.signal import Signal
from separator.snn.learning.segments import blocks_of
from separator.snn.learning.stdb.bits import STEPS, Trace
from separator.snn.learning.stdb.dropout import HeldMasks
from separator.snn.learning.stdb.neurons import (
    Population,
    advance,
    at_rest,
    handed_on,
    initial_gradients,
    nothing_later,
    returned,
    with_initial,
)
from separator.snn.learning.stdb.options import StdbOptions
from separator.snn.learning.stdb.way_back import unfinished
from separator.snn.learning.through_time import ThroughTimeLayer
from separator.snn.neurons.leaky import PARTS
from separator.snn.spikes.binary import BinarySpikes


class StdbLayer(ThroughTimeLayer):
    """A spiking layer that learns through time, of whose run one bit for each neuron and step is kept.

    Its neurons are leaky ones with a soft reset (Eq. 2 and 3); a readout sums up what it gets, without leak (Eq. 4). Potentials
    are in the paper's unit, in which a spike adds the weight of its synapse: in units of activation, that is what a spike of
    the layers before stands for, on average. Dropout before the layer acts on spikes, with masks that stay the same over the
    run. Batch norm keeps its statistics: the paper has none, nor biases.

    Where all layers of a stack are of this kind they run together, block by block (`separator.snn.stack.through_time`).

    Args:
        layer, role, threshold, dynamics, learn_threshold, segment, inherits: see `ThroughTimeLayer`.
        options: what stands for the derivative of a spike.
        learn_leak: whether the leak does, in steps of 1/256.

    Raises:
        UserError: layers wait for all of their input, or the neurons fire other spikes than of 1.
    """

    def __init__(
        self,
        layer: AnalogLayer,
        role: Role,
        threshold: Tensor,
        dynamics: Dynamics,
        options: StdbOptions,
        learn_threshold: bool = False,
        learn_leak: bool = False,
        segment: int | None = None,
        inherits: bool = False,
    ) -> None:
        if dynamics.model.spikes is not BinarySpikes:
            raise UserError(f"neurons that fire spikes of 0 or 1 learn by stdb, not '{dynamics.neuron}'")
        super().__init__(layer, role, threshold, dynamics, learn_threshold, segment=segment, inherits=inherits)
        self.options = options
        self.free_leak = nn.Parameter(torch.tensor(float(dynamics.model.leak)), requires_grad=learn_leak)
        _ = self.present_dynamics  # refuses leaks of neurons that have none

    def train(self, mode: bool = True) -> "StdbLayer":
        """Training mode, in which dropout before the layer acts."""
        super().train(mode)
        self.layer.before.train(mode)
        return self

    @property
    def leak(self) -> Tensor:
        """Share of the potential that is left a step later, a whole number of 256ths; a scalar."""
        free = self.free_leak
        return free + ((free.detach() * PARTS).round().clamp(1, PARTS) / PARTS - free.detach())

    @property
    def present_dynamics(self) -> Dynamics:
        """How the neurons run, with the leak as it is now."""
        if not self.learns_leak:
            return self.dynamics
        options = self.dynamics.neuron_options | {"leak": float(self.leak.detach())}
        return replace(self.dynamics, neuron_options=options)

    @property
    def learns_leak(self) -> bool:
        """Whether the leak does."""
        return self.free_leak.requires_grad

    @property
    def delayed(self) -> bool:
        """Whether spikes are handed on a step later."""
        return self.dynamics.model.delayed

    @property
    def needs_potentials(self) -> bool:
        """Whether the way back needs potentials, so that some are kept, and the others computed anew."""
        return not self.options.by_time or self.learns_leak

    def reading_unit(self, unit: float) -> float:
        """What the unit of a readout's potential stands for where a loss is told of it.

        Args:
            unit: what it stands for in truth, in units of activation.
        """
        return 1 / self.dynamics.window if self.role == "readout" and self.options.loss_of_spikes else unit

    def population(self, threshold: Tensor, leak: Tensor) -> Population:
        """The neurons with a threshold in the paper's unit, which broadcasts against (B, ...)."""
        model = self.dynamics.model
        return Population(threshold, leak, self.dynamics.initial_potential, model.strict, model.delayed)

    def currents(self, spikes: Tensor, beside: Tensor | None, unit: float, masks: HeldMasks, finish: bool = True) -> Tensor:
        """Currents in the paper's unit, time folded into the batch, differentiable. Shape: (K B, ...).

        Args:
            spikes: each with its value in that unit, (K B, ...).
            beside: the same of those that the shortcut sees, if they are others.
            unit: of potentials, in units of activation.
            masks: of dropout.
            finish: whether numbers are asked for, or a way back alone.
        """
        layer = self.layer
        scale = unit * self.dynamics.window if _has_constants(layer) else 1.0
        seen, other = (x if x is None or scale == 1 else x * scale for x in (spikes, beside))
        assert seen is not None
        layer.look_at(seen)
        inner = masks.through(layer.before, seen)
        sums = layer.behind(inner) if finish or layer.norm is not None else unfinished(layer.affine, inner)
        z = layer.joined(sums, seen if other is None else other).to(spikes.dtype)  # which products are not in mixed precision
        return z if scale == 1 else z / scale

    def charge(self, x: Tensor, unit: float, masks: HeldMasks) -> Tensor:
        """The charge of a layer with analog input, in the paper's unit, differentiable. Shape: (B, ...)."""
        layer = self.layer
        layer.look_at(x)
        return layer.joined(layer.behind(masks.through(layer.before, x)), x).to(x.dtype) / unit

    def _fire(self, currents: list[Tensor], signal: Signal) -> tuple[Tensor, Tensor]:
        threshold, unit = per_channel(self.threshold, currents[0]), self._unit(signal)
        over_time = torch.stack(currents) / unit
        trains: Tensor = _Spikes.apply(over_time, threshold / unit, self.leak, self)  # type: ignore[no-untyped-call]
        return trains, threshold

    def _unit(self, signal: Signal) -> float:
        """What a spike that comes in stands for, on average."""
        return 1 / self.dynamics.window if signal.scale is None else float(signal.scale.detach().mean())

    def _currents(self, signal: Signal, beside: Signal | None) -> list[Tensor]:
        masks, unit = HeldMasks(len(signal.activation)), self._unit(signal)
        if signal.scale is None:
            charge = self.charge(signal.activation, unit, masks) * unit
            return [charge * share for share in self.shares]
        spikes, other = (None if one is None else (_worth(one) / unit).flatten(0, 1) for one in (signal, beside))
        assert spikes is not None
        return list((self.currents(spikes, other, unit, masks) * self.reading_unit(unit)).chunk(self.dynamics.window))


class _Spikes(torch.autograd.Function):
    """Spikes (N_s, B, ...) on currents of all steps, kept as bits."""

    @staticmethod
    def forward(ctx: Any, currents: Tensor, threshold: Tensor, leak: Tensor, layer: StdbLayer) -> Tensor:
        population = layer.population(threshold, leak)
        blocks = list(blocks_of(len(currents), layer.ends, STEPS))
        trace, spikes = Trace(len(currents), layer.needs_potentials, len(blocks)), torch.empty_like(currents)
        membrane, currents = at_rest(currents[0]), with_initial(currents, population)
        for first, steps, _ in blocks:
            before = membrane
            fired, membrane = advance(currents[first : first + steps], before, population)
            trace.add(first, fired, before.potential)
            spikes[first : first + steps] = handed_on(fired, before.fired, population.delayed)
        kept = [currents] if layer.needs_potentials else []
        ctx.save_for_backward(threshold, leak, *kept)
        ctx.trace, ctx.layer = trace, layer
        return spikes

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (threshold, leak, *kept), trace, layer = ctx.saved_tensors, ctx.trace, ctx.layer
        population, gradients = layer.population(threshold, leak), gradient.clone()
        to_threshold, to_leak = torch.zeros_like(threshold), torch.zeros_like(leak)
        later, of = nothing_later(gradient[0]), None
        for block, (first, steps, segment) in reversed(list(enumerate(blocks_of(trace.steps, layer.ends, STEPS)))):
            if segment != of:
                later, of = nothing_later(gradient[0]), segment
            own = slice(first, first + steps)
            currents = kept[0][own] if kept else None
            found, later = returned(gradients[own], trace, block, currents, population, layer.options, later, layer.learns_leak)
            to_threshold, to_leak = to_threshold + found.threshold, to_leak + found.leak
        threshold, leak = initial_gradients(later, population)
        return gradients, to_threshold + threshold, to_leak + leak, None


def _worth(signal: Signal) -> Tensor:
    """Spikes, each with what it stands for. Shape: (N_s, B, ...)."""
    trains = signal.trains
    if trains is None:
        assert signal.spikes is not None
        trains = signal.spikes.trains()
    assert signal.scale is not None
    return trains * per_channel(signal.scale, signal.activation)


def _has_constants(layer: AnalogLayer) -> bool:
    """True if currents have a part that does not come from spikes."""
    return any(part.norm is not None or part.affine.bias is not None for part in layer.with_shortcut())
