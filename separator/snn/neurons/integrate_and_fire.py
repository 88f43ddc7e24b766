"""Integrate-and-fire neurons with reset by subtraction (Wu et al. 2021, Eq. 3-6)."""

from typing import NamedTuple

import torch
from torch import Tensor

from separator.snn.neurons.neuron import Crossing, Neuron, Numbers, crosses


class Membrane(NamedTuple):
    """Membrane potential before the next current arrives. Shape: (B, ...)."""

    v: Tensor


class IntegrateAndFire(Neuron):
    """v <- v + I; a spike where v >= threshold, which is subtracted (Eq. 4 and 5).

    Eq. 4 subtracts the threshold of a spike together with the next current; subtracting it at once gives the same spikes. The
    initial potential is 0 as published; half a threshold makes a first charge round, as Eq. 10 says, where 0 floors.
    """

    settles = True

    def initial_state(self, numbers: Numbers, like: Tensor) -> Membrane:
        """Every neuron at its initial potential."""
        return Membrane(numbers["initial_potential"].expand_as(like))

    def step(self, current: Tensor, state: Membrane, numbers: Numbers, fires: Crossing = crosses) -> tuple[Tensor, Membrane]:
        """Spikes, 0 or 1, and the state after the reset. Shape: (B, ...)."""
        v = state.v + current
        spikes = fires(v, numbers["threshold"])
        return spikes, Membrane(v - spikes * numbers["threshold"])

    def as_integrate_and_fire(self, numbers: Numbers) -> Numbers | None:
        """These themselves."""
        return numbers if type(self) is IntegrateAndFire else None

    def settle(self, charge: Tensor, numbers: Numbers, window: int) -> Tensor:
        """Spikes of neurons charged once, at the first step (section 3.4): clip(floor((charge + v_0) / threshold), 0, N_s).

        They come first, one a step. Shape: (B, ...) -> (B, ...), int8. Exact for whole numbers below 2^24 in float32 or int32
        (or such multiples of a power of two): a quotient below a whole number k is so by at least 1 / threshold, and that is
        more than half the distance of k to the next float32 as long as k times the threshold is below 2^24.
        """
        return ((charge + numbers["initial_potential"]) / numbers["threshold"]).clamp_(0, window).to(torch.int8)
