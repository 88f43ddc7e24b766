"""Interface of neuron models to the engine."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.integers.quanta import in_quanta, snap
from separator.snn.spikes.binary import BinarySpikes
from separator.snn.spikes.trains import Spikes

# Whole numbers of quanta of each neuron, by name: of any type that holds them, to broadcast against (B, ...).
Numbers = Mapping[str, Tensor]
State = Any  # whatever a model keeps from step to step: tensors (B, ...)
Crossing = Callable[[Tensor, Tensor], Tensor]  # of membrane potential and threshold, 1 or 0


def crosses(v: Tensor, threshold: Tensor) -> Tensor:
    """1 where the potential reaches the threshold, else 0 (Wu et al. 2021, Eq. 5). Shape: (B, ...), of the type of `v`."""
    return (v >= threshold).to(v.dtype)


class Neuron(ABC):
    """A neuron model: pure functions of currents, states and whole numbers. A new one is a class with `step`, registered.

    Defaults are those of neurons that fire spikes of 1 at a threshold and have an initial potential; models with other numbers,
    spikes or activations say so.
    """

    names: ClassVar[tuple[str, ...]] = ("threshold", "initial_potential")  # of its whole numbers, int32
    spikes: ClassVar[type[Spikes]] = BinarySpikes  # representation of what it fires
    activations: ClassVar[tuple[type[nn.Module], ...]] = (nn.ReLU,)  # that its spike counts can stand for
    settles: ClassVar[bool] = False  # whether `settle` says at once what neurons fire that are charged once
    waits: ClassVar[bool] = False  # whether it only makes sense charged once, so that layers wait for all of their input
    # Whether potentials are registers of 32 bits that saturate at 2^30 quanta, in place of a bound that they never exceed.
    saturates: ClassVar[bool] = False
    # What learning through time goes by, beside `leak`, of models that fire spikes of 1 and are reset by subtraction.
    strict: ClassVar[bool] = False  # fires above the threshold; else at it, too
    delayed: bool = False  # fires on the potential of the step before

    @abstractmethod
    def initial_state(self, numbers: Numbers, like: Tensor) -> State:
        """State before the first current. Shape of its tensors: as `like`, (B, ...)."""

    @abstractmethod
    def step(self, current: Tensor, state: State, numbers: Numbers, fires: Crossing = crosses) -> tuple[Tensor, State]:
        """Spikes (B, ...) of one time step and the state after it.

        Args:
            current: synaptic current of the step, (B, ...), in quanta; where it learns through time, in units of activation.
            state: before it arrives.
            numbers: of the neurons, in the same unit.
            fires: whether a potential reaches a threshold, with a derivative where it learns.
        """

    def of_window(self, window: int) -> "Neuron":
        """The model for a time window, of models that step by it.

        Raises:
            UserError: there is none.
        """
        return self

    @property
    def leak(self) -> float:
        """Share of the potential that stays from step to step."""
        return 1.0

    @property
    def largest(self) -> int:
        """Largest magnitude of a spike."""
        return 1

    @property
    def bits(self) -> int:
        """Bits that say what a neuron fires at a step, silence included: 1 of spikes of 1, 2 of those of either sign."""
        least, most = self.limits(1)
        return (most - least).bit_length()

    def settle(self, charge: Tensor, numbers: Numbers, window: int) -> Tensor:
        """Sum of the spikes of neurons that get all of their charge at the first step, which come as early as they can.

        Asked of models that say `settles`; others are simulated step by step. Shape: (B, ...) -> (B, ...), whole numbers.
        """
        raise NotImplementedError

    def in_front(self, values: Tensor, window: int) -> Spikes:
        """Trains whose spikes come as early as they can, from the sum of each. Shape: (B, ...)."""
        return self.spikes.in_front(values, window)

    def in_quanta(
        self,
        threshold: Tensor,
        quantum: Tensor,
        shared: Tensor,
        initial_potential: float,
        activation: nn.Module | None = None,
    ) -> dict[str, Tensor]:
        """The model's numbers. Shapes: (C_out,), int32.

        Args:
            threshold: in units of activation, whole numbers of `shared`, (1,) or (C_out,).
            quantum: of each neuron, (C_out,).
            shared: of which thresholds are whole numbers: of each neuron, or the largest one for all.
            initial_potential: in thresholds.
            activation: that the spikes stand for.
        """
        initial = snap(
            threshold.double() * initial_potential, shared.double()
        )  # in 32 bits, off by quanta where there are many
        whole = (in_quanta(x.expand(len(quantum)), quantum).to(torch.int32) for x in (threshold, initial))
        return dict(zip(("threshold", "initial_potential"), whole, strict=True))

    def in_units(self, threshold: Tensor, initial_potential: float, activation: nn.Module | None = None) -> dict[str, Tensor]:
        """The model's numbers in units of activation, differentiable in thresholds that broadcast against (B, ...)."""
        return {"threshold": threshold, "initial_potential": threshold * initial_potential}

    def initial_below(self, initial_potential: float, activation: nn.Module | None = None) -> float:
        """Part of a negative threshold that counts towards it at first, of models that have one."""
        return initial_potential

    def activation_of(self, numbers: Numbers) -> nn.Module | None:
        """Activation that the spikes of neurons with these numbers stand for."""
        return nn.ReLU()

    def reach(self, numbers: Numbers, steps: int) -> Tensor:
        """Magnitude of a charge that spikes of so many steps cannot tell from a larger one, whole thresholds. Shape: (C_out,).

        Of a model that keeps what its spikes leave; one that loses some of it says how much it takes to fire at the last step.
        """
        return numbers["threshold"] * (steps + 1)

    def check(self, numbers: Numbers, quantum: Tensor, initial_potential: float) -> None:
        """Refuse numbers (C_out,) that `in_quanta` does not make, but thresholds below 1 quantum, which no model may have.

        Raises:
            UserError: the message names the number.
        """
        initial, threshold = numbers["initial_potential"].double(), numbers["threshold"].double()
        if not bool(((initial >= 0) & (initial <= threshold)).all()):
            raise UserError("an initial potential is from 0 to the threshold")
        # One threshold for all neurons has initial potentials that are rounded to the largest quantum of all.
        rounded = quantum.double().max() / quantum.double() / 2 + 1
        if not bool(((initial - threshold * initial_potential).abs() <= rounded).all()):
            raise UserError(f"an initial potential is not {initial_potential:g} thresholds")

    def as_integrate_and_fire(self, numbers: Numbers) -> Numbers | None:
        """Numbers of integrate-and-fire neurons that fire the same spikes; None if there are no such.

        Their membrane potential, the only state, may be a constant less: by as much as their initial potential is.
        """
        return None

    def limits(self, window: int) -> tuple[int, int]:
        """Least and largest sum of the spikes of a train."""
        return 0, window

    def run(self, currents: Iterable[Tensor], numbers: Numbers, state: State = None) -> tuple[Spikes, State]:
        """Spikes fired on the currents of each step, (B, ...) each, and the state after them.

        Args:
            currents: at least one, at most as many as a window has.
            numbers: of the neurons.
            state: before the first one; the initial one if None.
        """
        trains = []
        for current in currents:
            state = self.initial_state(numbers, current) if state is None else state
            spikes, state = self.step(current, state, numbers)
            trains.append(spikes)
        return self.spikes.pack(torch.stack(trains)), state
