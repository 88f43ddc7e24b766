"""A leaky neuron on whole numbers, and input coded by random spikes, as a stranger would add them."""

from typing import NamedTuple

import torch

from separator.snn.coding.inputs import CODINGS, SpikeCoding
from separator.snn.neurons.neuron import Neuron, crosses
from separator.snn.neurons.registry import NEURONS
from separator.snn.spikes.signed import SignedSpikes


class Membrane(NamedTuple):
    u: torch.Tensor
    fired: torch.Tensor


class Lif(Neuron):
    """u <- floor(k u / 256) + I - V o, where o is the spike before; o = [u > V]; handed on at once, or a step later."""

    strict = True

    def __init__(self, leak=1.0, delayed=0):
        self.leak, self.delayed = round(256 * leak) / 256, bool(delayed)

    def initial_state(self, numbers, like):
        return Membrane(numbers["initial_potential"].expand_as(like), torch.zeros_like(like))

    def step(self, current, state, numbers, fires=crosses):
        u = (state.u * round(256 * self.leak)).div(256, rounding_mode="floor") + current - state.fired * numbers["threshold"]
        fired = fires(u, numbers["threshold"] + 1)
        return (state.fired if self.delayed else fired), Membrane(u, fired)


class Drawn(SpikeCoding):
    """Spikes of sign(x) with probability |x|; what is drawn depends on the step, and the seed, alone."""

    def __init__(self, seed=0):
        self.seed = seed

    def scale(self, window):
        return 1 / window

    def present(self, x, window, first, steps):
        draws = [torch.rand(x.shape, generator=torch.Generator().manual_seed(1000 * self.seed + first + t)) for t in range(steps)]
        return SignedSpikes.pack(torch.stack([(draw < x.abs()) * x.sign() for draw in draws]))


class DrawnAnew(Drawn):
    def drawn_anew(self, seed):
        return Drawn(seed)


NEURONS.register("test-lif", Lif)
CODINGS.register("test-drawn", Drawn())
CODINGS.register("test-drawn-anew", DrawnAnew())
