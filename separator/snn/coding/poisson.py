"""Poisson coding: spikes drawn at random, at a rate of the input's magnitude and with its sign (Rathi et al. 2020, section 5).

What is drawn for a place of an item at a step is a hash of whole numbers: the seed, the item's key, the place and the step. The
key is a hash of the item's own values, so that an item draws the same spikes in whatever batch or window it comes, and two
equal items draw equal ones. All of it is 64-bit integer arithmetic that wraps around, the same on every device.
"""

import torch
from torch import Tensor

from separator.errors import UserError
from separator.ranges import is_number
from separator.snn.coding.inputs import SpikeCoding
from separator.snn.spikes.binary import BinarySpikes
from separator.snn.spikes.signed import SignedSpikes

LANE = 16  # bits of a draw; a hash of 64 has four of them
CERTAIN = 2**LANE  # the input is rounded to so many parts of what fires at every step
MOST_SEED = 2**31 - 1
FAINTEST = 2.0**-32  # input that may fire at every step

# Multipliers of splitmix64's steps and mixing function (Steele et al. 2014), as signed numbers.
GOLDEN = 0x9E3779B97F4A7C15 - 2**64
FIRST, SECOND = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64


class Poisson(SpikeCoding):
    """At each step a spike of sign(x) with a probability of min(|x| / certain, 1), drawn for each step by itself.

    Args:
        seed: of the draws.
        certain: magnitude of the input that fires at every step.

    Raises:
        UserError: the seed is no whole number from 0 to 2^31 - 1, or `certain` is not from 2^-32 to 2^32.
    """

    def __init__(self, seed: float = 0, certain: float = 1.0) -> None:
        if not is_number(seed) or not 0 <= seed <= MOST_SEED or seed != int(seed):
            raise UserError(f"a seed of spikes is a whole number from 0 to {MOST_SEED}, not {seed}")
        if not is_number(certain) or not FAINTEST <= certain <= 1 / FAINTEST:
            raise UserError(f"the input that fires at every step is from {FAINTEST:.3g} to {1 / FAINTEST:.3g}, not {certain}")
        self.seed, self.certain = int(seed), float(certain)

    def scale(self, window: int) -> float:
        """Amount of the input that a spike stands for."""
        return self.certain / window

    def present(self, x: Tensor, window: int, first: int, steps: int) -> SignedSpikes:
        """Spikes of `steps` steps from step `first` on. Shape: (B, ...).

        Raises:
            UserError: the input holds numbers that are NaN or infinite.
        """
        if not bool(x.isfinite().all()):
            raise UserError("the input holds numbers that are NaN or infinite, which no spikes can be drawn for")
        parts = (x.double() * (CERTAIN / self.certain)).clamp_(-CERTAIN, CERTAIN).round_().to(torch.int64)
        streams = self._streams(parts)
        sizes, words = parts.abs(), torch.zeros_like(x, dtype=torch.int32)
        hashes, held = streams, -1
        for t in range(steps):
            group, lane = divmod(first + t, 64 // LANE)
            if group != held:
                hashes, held = _mixed(streams + _times(group + 1)), group
            fires = (hashes >> lane * LANE) & (CERTAIN - 1) < sizes
            words.bitwise_or_(fires.to(torch.int32) << t)
        up, down = (BinarySpikes(steps, words.where(own, 0)) for own in (parts > 0, parts < 0))
        return SignedSpikes(up, down)

    def drawn_anew(self, seed: int) -> "Poisson":
        """The same coding with another seed."""
        return Poisson(seed, self.certain)

    def _streams(self, parts: Tensor) -> Tensor:
        """A number for each place of each item, which its draws follow from. Shape: (B, ...) -> (B, ...), int64."""
        places = (torch.arange(1, parts[0].numel() + 1, device=parts.device) * GOLDEN).view_as(parts[0])
        own = _mixed(_mixed(parts + CERTAIN) + places).flatten(1).sum(1)  # of integers: in any order the same
        keys = _mixed(own + _times(self.seed + 1))
        return _mixed(keys.view(-1, *[1] * (parts.dim() - 1)) + places)


def _times(n: int) -> int:
    """A multiple of the step, wrapped around to a signed number of 64 bits."""
    return (n * GOLDEN + 2**63) % 2**64 - 2**63


def _mixed(z: Tensor) -> Tensor:
    """Each number's hash. Shape: any, int64."""
    z = (z ^ _shifted(z, 30)) * FIRST
    z = (z ^ _shifted(z, 27)) * SECOND
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, bits: int) -> Tensor:
    """Shifted to the right, zeros moving in."""
    return torch.bitwise_and(z >> bits, 2 ** (64 - bits) - 1)
