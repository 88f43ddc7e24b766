"""Neurons that say a number in binary digits, a step for each: few spikes, and few steps, for many levels of activation.

Stöckl and Maass 2021, "Optimized spiking neurons can classify images with high accuracy through temporal coding with two
spikes", with the parameters that they give for a ReLU: threshold, reset and worth of a spike, all of them halved from step to
step. Kim et al. 2018, "Deep neural networks with weighted spikes", weigh spikes by their step likewise.
"""

from typing import NamedTuple

from torch import Tensor

from separator.errors import UserError
from separator.snn.neurons.integrate_and_fire import IntegrateAndFire
from separator.snn.neurons.neuron import Crossing, Neuron, Numbers, crosses
from separator.snn.spikes.weighted import MOST_DIGITS, WeightedSpikes


class Descent(NamedTuple):
    """Membrane potential before the next current arrives, (B, ...), and the steps that are left."""

    v: Tensor
    left: int


class FewSpikes(IntegrateAndFire):
    """v <- v + I; at step t a spike worth w = 2^(N_s - 1 - t) where v >= w threshold, which is subtracted.

    Charged at the first step, neurons fire the binary digits of clip(floor((v_0 + I) / threshold), 0, 2^N_s - 1), the highest
    one first: what integrate-and-fire neurons fire in 2^N_s - 1 steps, in N_s steps and no more spikes than these. What a spike
    is worth follows from its step alone, so that it is one bit, and synapses shift their weights. A digit once passed cannot be
    made up for, so that layers wait for all of their input.
    """

    spikes = WeightedSpikes
    waits = True
    window = MOST_DIGITS  # time steps N_s

    def of_window(self, window: int) -> Neuron:
        """The same for so many steps.

        Raises:
            UserError: they are not from 1 to 7.
        """
        if not 1 <= window <= MOST_DIGITS:
            raise UserError(f"neurons of the model 'few-spikes' have time windows of 1 to {MOST_DIGITS} steps, not {window}")
        model = FewSpikes()
        model.window = window
        return model

    def initial_state(self, numbers: Numbers, like: Tensor) -> Descent:  # type: ignore[override]
        """Every neuron at its initial potential, with all steps to come."""
        return Descent(numbers["initial_potential"].expand_as(like), self.window)

    def step(self, current: Tensor, state: Descent, numbers: Numbers, fires: Crossing = crosses) -> tuple[Tensor, Descent]:  # type: ignore[override]
        """Spikes, 0 or what they are worth at this step, and the state after the reset. Shape: (B, ...)."""
        v, worth = state.v + current, 1 << (state.left - 1)
        spikes = fires(v, numbers["threshold"] * worth) * worth
        return spikes, Descent(v - spikes * numbers["threshold"], state.left - 1)

    def settle(self, charge: Tensor, numbers: Numbers, window: int) -> Tensor:
        """Sum of the spikes of neurons charged once, at the first step. Shape: (B, ...) -> (B, ...), int8."""
        return super().settle(charge, numbers, self.limits(window)[1])

    def limits(self, window: int) -> tuple[int, int]:
        """Least and largest sum of the spikes of a train."""
        return 0, 2**window - 1

    def reach(self, numbers: Numbers, steps: int) -> Tensor:
        """Charge that so many digits cannot tell from a larger one. Shape: (C_out,)."""
        reach: Tensor = numbers["threshold"] * 2**steps
        return reach
