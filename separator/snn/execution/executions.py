"""Executions of layers, by name: from spike trains to spike trains, to the bit as `stack.reference` says."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from separator.snn.execution.chosen import DENSE, EVENT_DRIVEN, FASTEST
from separator.snn.execution.event_driven import event_driven
from separator.snn.execution.row_adding import row_adding
from separator.snn.neurons.neuron import Neuron, Numbers, State
from separator.snn.registry import Registry
from separator.snn.spikes.trains import Spikes
from separator.snn.synapses.affine import AffineMap


class Population(NamedTuple):
    """A layer of neurons with all of their synapses in one map."""

    apply: AffineMap
    weight: Tensor  # in quanta, a type of whole numbers
    bias: Tensor  # (C_out,), int32, current of each time step
    neuron: Neuron
    numbers: Numbers  # (C_out,), int32
    at_once: bool = False  # whether neurons fire once all of their input is in, not while it arrives


class Compiled(Protocol):
    """A population laid out for an execution."""

    carries: bool  # whether it takes and gives states

    def __call__(self, spikes: Spikes, state: State = None, carry: bool = False) -> tuple[Spikes, State]:
        """Spikes fired on the incoming ones, and the state after them if it is to `carry` it; from the initial one if None."""

    def padded_as(self, apply: AffineMap) -> "Compiled":
        """The same synapses under a map that pads otherwise."""


def taking(spikes: Spikes, layer: Compiled | None) -> Compiled | None:
    """The same if it takes such spikes; those that have a class `takes` take no others."""
    return layer if isinstance(spikes, getattr(layer, "takes", Spikes)) else None


# Of a population what it is compiled to; None where the execution does not serve it, or not on this machine.
Execution = Callable[[Population], Compiled | None]


def _event_driven(population: Population) -> Any:
    return event_driven(*population)


def _row_adding(population: Population) -> Any:
    return None if population.at_once else row_adding(*population[:5])


# In the order in which they are tried.
EXECUTIONS: Registry[Execution] = Registry("execution", {EVENT_DRIVEN: _event_driven, "row-adding": _row_adding})


def compiled(population: Population, name: str) -> Compiled | None:
    """The population laid out for an execution, or for the first that serves; None for the dense one.

    Raises:
        UserError: there is no such execution.
    """
    if name == DENSE:
        return None
    if name != FASTEST:
        return EXECUTIONS.pick(name)(population)
    found = (execution(population) for _, execution in EXECUTIONS.items())
    return next((one for one in found if one is not None), None)
