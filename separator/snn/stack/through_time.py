"""A stack that learns by stdb, as a whole: over time block by block, and back from the spike bits of all of its layers.

A block is 8 steps, as many as a byte has bits. Within it, one layer after the other runs over all of its steps, time folded
into the batch; spikes are dense for the layers that see them, and kept packed. On the way back a block's spikes are unpacked,
and currents, where potentials are asked for, computed anew. What is kept of a run is one bit for each neuron and step, and what
is dense at a time is one block of a few layers.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from separator.snn.learning.stdb.bits import Trace
from separator.snn.learning.stdb.layer import StdbLayer
from separator.snn.learning.stdb.neurons import (
    Later,
    Membrane,
    advance,
    at_rest,
    handed_on,
    initial_gradients,
    nothing_later,
    returned,
    with_initial,
)
from separator.snn.stack.graph import INPUT, Sources, forget_unseen
from separator.snn.stack.walk import Block, Walk, begun


def readings(layers: Sequence[StdbLayer], sources: Sequence[Sources], x: Tensor) -> Tensor:
    """What the readout's potential stands for at the end of each segment, as if the whole run were like the steps so far.

    Differentiable in the layers' parameters and, where it is not coded by spikes, in the input.

    Args:
        layers: in training mode.
        sources: of each.
        x: input, (B, ...).

    Returns:
        (S, B, ...).
    """
    walk = begun(layers, sources, x)
    charge = layers[0].charge(x, 1.0, walk.masks[0]) if walk.charged else None
    found: Tensor = _Run.apply(walk, charge, *_parameters(walk))  # type: ignore[no-untyped-call]
    elapsed = found.new_tensor(walk.ends).view(-1, *[1] * (found.dim() - 1))
    return found * (layers[-1].reading_unit(walk.units[-1]) * layers[0].dynamics.window / elapsed)


def _parameters(walk: Walk) -> list[Tensor]:
    """All parameters that learn, but for those of a charge, each once."""
    first = 1 if walk.charged else 0
    own = [p for i in range(first, len(walk.layers)) for p in walk.synaptic(i)]
    own += [p for layer in walk.layers for p in (layer.gain, layer.free_leak) if p.requires_grad]
    return list({id(p): p for p in own}.values())


class _Run(torch.autograd.Function):
    """Potentials of the readout at the end of each segment, in the paper's unit. Shape: (S, B, ...)."""

    @staticmethod
    def forward(ctx: Any, walk: Walk, charge: Tensor | None, *parameters: Tensor) -> Tensor:
        membranes: dict[int, Membrane] = {}
        total, found = None, []
        for block in walk.blocks:
            added = _forward(walk, charge, block, membranes)
            total = added if total is None else total + added
            if block.first + block.steps in walk.ends:
                found.append(total)
        kind = added.device.type
        ctx.precision = kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        ctx.walk, ctx.parameters = walk, parameters
        ctx.save_for_backward(*([] if charge is None else [charge]))
        return torch.stack(found)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        back = _Back(ctx.walk, *ctx.saved_tensors)
        kind, number, enabled = ctx.precision
        with torch.autocast(kind, number, enabled):  # products as on the way forward
            for block in reversed(ctx.walk.blocks):
                back.through(block, gradient[block.segment])
        back.finish()
        return None, back.to_charge, *(back.found.get(id(p)) for p in ctx.parameters)


def _forward(walk: Walk, charge: Tensor | None, block: Block, membranes: dict[int, Membrane]) -> Tensor:
    """What the readout gets in a block; states and traces go on. Shape: (B, ...)."""
    handed = {} if walk.charged else {INPUT: walk.trains(block)}
    last = len(walk.layers) - 1
    for i, layer in enumerate(walk.layers[:last]):
        currents = walk.currents(i, handed) if i or charge is None else walk.charge_of(charge, block)
        population = walk.population(i, currents[0])
        before = membranes[i] if i in membranes else at_rest(currents[0])
        currents = currents if i in membranes else with_initial(currents, population)
        fired, membranes[i] = advance(currents, before, population)
        trace = walk.traces.setdefault(i, Trace(layer.dynamics.window, layer.needs_potentials, len(walk.blocks)))
        trace.add(block.first, fired, before.potential)
        handed[i] = handed_on(fired, before.fired, layer.delayed)
        forget_unseen(handed, walk.sources, i + 1)
    return walk.currents(last, handed).sum(0)


class _Back:
    """The way back of a run, block by block from the last one.

    Args:
        walk: the run.
        charge: of the first layer, if it has analog input.
    """

    def __init__(self, walk: Walk, charge: Tensor | None = None) -> None:
        self.walk, self.charge = walk, charge
        self.to_charge = None if charge is None else torch.zeros_like(charge)
        self.found: dict[int, Tensor] = {}  # gradients of parameters, by identity
        self.later: dict[int, Later] = {}  # of layers
        self.segment: int | None = None

    def through(self, block: Block, gradient: Tensor) -> None:
        """Go back through a block, given the gradient to the readout's potential, (B, ...)."""
        if block.segment != self.segment:
            self.later, self.segment = {}, block.segment
        handed: dict[int, Tensor] = {}  # gradients to what layers handed on, (K, B, ...)
        last = len(self.walk.layers) - 1
        for i in range(last, -1, -1):
            spikes, currents = self._currents(i, block, gradient.dtype)
            if i == last:
                own = gradient.repeat(block.steps, *[1] * gradient.dim())
            else:
                own = self._through_neurons(i, block, handed.pop(i), currents.detach())
            if spikes:
                self._through_synapses(i, own, currents, spikes, handed)
            elif self.to_charge is not None:
                self.to_charge += self.walk.charge_gradient(own, block)

    def finish(self) -> None:
        """Add what goes back by way of the potentials before the first step."""
        for i, later in self.later.items():
            if not self.walk.layers[i].dynamics.initial_potential:
                continue
            threshold, leak = initial_gradients(later, self.walk.population(i, later.potential))
            self._to_threshold(i, threshold)
            self._to_leak(i, leak)

    def _currents(self, i: int, block: Block, kind: torch.dtype) -> tuple[dict[int, Tensor], Tensor]:
        """Spikes that a layer saw, none of a charged one, and its currents, or what a way back begins with."""
        walk = self.walk
        if i == 0 and self.charge is not None:
            return {}, walk.charge_of(self.charge, block)
        spikes = {j: walk.fired(j, block, kind) for j in {source for own in walk.sources[i] for source in own}}
        finish = walk.layers[i].needs_potentials and i < len(walk.layers) - 1
        with torch.enable_grad():
            for j, trains in spikes.items():
                trains.requires_grad_(j != INPUT)
            return spikes, walk.currents(i, spikes, finish)

    def _through_neurons(self, i: int, block: Block, gradient: Tensor, currents: Tensor) -> Tensor:
        layer, trace = self.walk.layers[i], self.walk.traces[i]
        population = self.walk.population(i, gradient[0])
        later = self.later.get(i) or nothing_later(gradient[0])
        seen = None
        if layer.needs_potentials:
            seen = currents if block.number else with_initial(currents, population)
        found, self.later[i] = returned(
            gradient, trace, block.number, seen, population, layer.options, later, layer.learns_leak
        )
        self._to_threshold(i, found.threshold)
        self._to_leak(i, found.leak)
        return found.currents

    def _to_leak(self, i: int, gradient: Tensor) -> None:
        layer = self.walk.layers[i]
        if layer.learns_leak:
            self._add(layer.free_leak, gradient.to(layer.free_leak.dtype))

    def _to_threshold(self, i: int, gradient: Tensor) -> None:
        layer = self.walk.layers[i]
        if layer.gain.requires_grad:
            with torch.enable_grad():
                threshold = layer.threshold / self.walk.units[i]
            (found,) = torch.autograd.grad(threshold, layer.gain, gradient.view_as(threshold).to(threshold.dtype))
            self._add(layer.gain, found)

    def _through_synapses(
        self, i: int, gradient: Tensor, currents: Tensor, spikes: dict[int, Tensor], handed: dict[int, Tensor]
    ) -> None:
        parameters, seen = self.walk.synaptic(i), {j: trains for j, trains in spikes.items() if j != INPUT}
        if not parameters and not seen:
            return
        found = torch.autograd.grad(currents, [*seen.values(), *parameters], gradient, allow_unused=True)
        for j, own in zip(seen, found, strict=False):
            handed[j] = handed[j] + own if j in handed else own
        for parameter, own in zip(parameters, found[len(seen) :], strict=True):
            if own is not None:
                self._add(parameter, own)

    def _add(self, parameter: Tensor, gradient: Tensor) -> None:
        known = self.found.get(id(parameter))
        self.found[id(parameter)] = gradient if known is None else known.add_(gradient)
