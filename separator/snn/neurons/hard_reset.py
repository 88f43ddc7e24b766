"""Integrate-and-fire neurons that start anew after each spike."""

import torch
from torch import Tensor

from separator.snn.neurons.integrate_and_fire import Membrane
from separator.snn.neurons.neuron import Crossing, Neuron, Numbers, crosses


class HardReset(Neuron):
    """v <- v + I; a spike where v >= threshold, after which v is zero, whatever was above the threshold.

    The neurons of Diehl et al. 2015, "Fast-classifying, high-accuracy spiking deep networks through weight and threshold
    balancing". What they lose at a spike is why later conversions subtract the threshold instead.
    """

    def initial_state(self, numbers: Numbers, like: Tensor) -> Membrane:
        """Every neuron at its initial potential."""
        return Membrane(numbers["initial_potential"].expand_as(like))

    def step(self, current: Tensor, state: Membrane, numbers: Numbers, fires: Crossing = crosses) -> tuple[Tensor, Membrane]:
        """Spikes, 0 or 1, and the state after the reset. Shape: (B, ...)."""
        v = state.v + current
        spikes = fires(v, numbers["threshold"])
        return spikes, Membrane(torch.where(spikes > 0, 0, v))
