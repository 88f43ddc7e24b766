"""A run of a stack that learns by stdb: what it is made of, and what is kept of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from separator.snn.coding.inputs import SpikeCoding
from separator.snn.layers.shapes import per_channel
from separator.snn.learning.segments import blocks_of
from separator.snn.learning.stdb.bits import STEPS, Trace
from separator.snn.learning.stdb.dropout import HeldMasks
from separator.snn.learning.stdb.layer import StdbLayer
from separator.snn.learning.stdb.neurons import Population, handed_on
from separator.snn.stack.graph import INPUT, Sources, is_apart

MOST_SEED = 2**31 - 1


class Block(NamedTuple):
    """Some steps of a run."""

    number: int
    first: int
    steps: int
    segment: int


@dataclass(frozen=True)
class Walk:
    """A run of a stack: its layers, and what is kept of them."""

    layers: Sequence[StdbLayer]
    sources: Sequence[Sources]
    units: Sequence[float]  # of potentials of each layer, in units of activation
    batch: int
    shares: Sequence[float]  # of the charge at each step; none where the input is coded by spikes
    trains: Callable[[Block], Tensor]  # input spikes of a block, (K, B, ...), if it is coded by them
    traces: dict[int, Trace] = field(default_factory=dict)

    @cached_property
    def masks(self) -> list[HeldMasks]:
        """Masks of the dropout before each layer."""
        return [HeldMasks(self.batch) for _ in self.layers]

    @property
    def ends(self) -> list[int]:
        """Steps at which segments end."""
        return self.layers[0].ends

    @cached_property
    def blocks(self) -> list[Block]:
        """All blocks, in order."""
        return [Block(i, *block) for i, block in enumerate(blocks_of(self.layers[0].dynamics.window, self.ends, STEPS))]

    @property
    def charged(self) -> bool:
        """Whether the first layer has analog input."""
        return bool(self.shares)

    def population(self, i: int, like: Tensor) -> Population:
        """Neurons of a layer, whose threshold broadcasts against (B, ...)."""
        layer = self.layers[i]
        threshold = (layer.threshold.detach() / self.units[i]).to(like.dtype)
        return layer.population(per_channel(threshold, like), layer.leak.detach())

    def currents(self, i: int, spikes: Mapping[int, Tensor], finish: bool = True) -> Tensor:
        """Currents of a layer from spikes of the layers that it sees, differentiable. Shape: (K, B, ...) -> (K, B, ...)."""
        first, *others = self.sources[i]
        own = self._worth(i, first, spikes)
        beside = self._worth(i, others[0], spikes).flatten(0, 1) if is_apart(self.sources[i]) else None
        flat = self.layers[i].currents(own.flatten(0, 1), beside, self.units[i], self.masks[i], finish)
        return torch.unflatten(flat, 0, (len(own), self.batch))

    def charge_of(self, charge: Tensor, block: Block) -> Tensor:
        """Currents of the first layer from its charge. Shape: (B, ...) -> (K, B, ...)."""
        return charge * self._shares_of(block, charge)

    def charge_gradient(self, gradient: Tensor, block: Block) -> Tensor:
        """Gradient to the charge from that to its currents. Shape: (K, B, ...) -> (B, ...)."""
        return (gradient * self._shares_of(block, gradient[0])).sum(0)

    def fired(self, i: int, block: Block, kind: torch.dtype) -> Tensor:
        """Spikes that a layer handed on in a block, from its bits. Shape: (K, B, ...)."""
        if i == INPUT:
            return self.trains(block)
        trace = self.traces[i]
        spikes = trace.spikes(block.number, block.steps, kind)
        return handed_on(spikes, trace.fired_before(block.number, kind), self.layers[i].delayed)

    def synaptic(self, i: int) -> list[Tensor]:
        """Parameters that the currents of a layer depend on and that learn, spikes' values among them."""
        seen = {source for own in self.sources[i] for source in own if source != INPUT}
        gains = [self.layers[j].gain for j in sorted(seen)]
        return [p for p in [*self.layers[i].layer.parameters(), *gains] if p.requires_grad]

    def _worth(self, i: int, own: Sequence[int], spikes: Mapping[int, Tensor]) -> Tensor:
        """Spikes of some layers with their values in the paper's unit, channel behind channel."""
        pieces = [spikes[j] if self._is_unit(i, j) else spikes[j] * self._value(i, j, spikes[j][0]) for j in own]
        return pieces[0] if len(own) == 1 else torch.cat(pieces, 2)

    def _value(self, i: int, j: int, like: Tensor) -> Tensor:
        return per_channel(self.layers[j].threshold / self.units[i], like)

    def _is_unit(self, i: int, j: int) -> bool:
        """Whether spikes of layer j are worth 1 to layer i, for good."""
        if j == INPUT:
            return True
        base, learns = self.layers[j].base_threshold, self.layers[j].gain.requires_grad
        return not learns and len(base) == 1 and float(base) == self.units[i]

    def _shares_of(self, block: Block, like: Tensor) -> Tensor:
        return like.new_tensor(self.shares[block.first : block.first + block.steps]).view(-1, *[1] * like.dim())


def begun(layers: Sequence[StdbLayer], sources: Sequence[Sources], x: Tensor) -> Walk:
    """A run of layers in training mode on an input, (B, ...), that nothing has happened in so far."""
    dynamics = layers[0].dynamics
    coding, window = dynamics.input_coding, dynamics.window
    inner = [float(torch.cat([layers[i].base_threshold for i in maps[0]]).mean()) for maps in sources[1:]]
    if not isinstance(coding, SpikeCoding):
        return Walk(layers, sources, [1 / window, *inner], len(x), [share * window for share in layers[0].shares], _none)
    drawn = coding.drawn_anew(int(torch.randint(MOST_SEED, ())))

    def trains(block: Block) -> Tensor:
        return drawn.present(x.detach(), window, block.first, block.steps).trains().to(x.dtype)

    return Walk(layers, sources, [coding.scale(window), *inner], len(x), [], trains)


def _none(block: Block) -> Tensor:
    raise AssertionError("analog input has no spikes")
