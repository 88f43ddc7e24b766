"""Input coded by random spikes, as a stranger would add it."""

import torch

from separator.snn.coding.inputs import SpikeCoding
from separator.snn.coding.registry import CODINGS
from separator.snn.spikes.signed import SignedSpikes


class Drawn(SpikeCoding):
    """Spikes of sign(x) with probability |x|; what is drawn depends on the step, and the seed, alone."""

    def __init__(self, seed=0):
        self.seed = seed

    def scale(self, window):
        return 1 / window

    def present(self, x, window, first, steps):
        draws = [
            torch.rand(x.shape, generator=torch.Generator().manual_seed(1000 * self.seed + first + t)) for t in range(steps)
        ]
        return SignedSpikes.pack(torch.stack([(draw < x.abs()) * x.sign() for draw in draws]))


CODINGS.register("test-drawn", Drawn)
