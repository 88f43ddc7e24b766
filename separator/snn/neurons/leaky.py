"""Leaky integrate-and-fire neurons with reset by subtraction (Rathi et al. 2020, Eq. 2 and 3)."""

from math import ceil

import torch
from torch import Tensor

from separator.errors import UserError
from separator.ranges import is_number
from separator.snn.neurons.integrate_and_fire import Membrane
from separator.snn.neurons.neuron import Crossing, Neuron, Numbers

PARTS = 256  # of a potential, whole numbers of which stay from step to step
MOST_REACH = 2**10  # thresholds of a charge that are told from more, at most, so that a threshold has 12 of 24 bits left


def exceeds(v: Tensor, threshold: Tensor) -> Tensor:
    """1 where the potential is above the threshold, else 0 (Eq. 3). Shape: (B, ...), of the type of `v`."""
    return (v > threshold).to(v.dtype)


class Leaky(Neuron):
    """u <- leak u + I; a spike where u > threshold, which is subtracted, so that what is above it is kept.

    The comparison is a strict one, and what is subtracted does not leak: Eq. 2 takes it from the leaked potential of the next
    step. In whole numbers the leaked potential is floor(k u / 256), of negative ones as well, where k / 256 is the fraction
    nearest to `leak`; a neuron that nothing reaches thus ends at 0, or at 1 quantum below. The state is what the next current
    is added to; of delayed neurons, the potential itself.

    Args:
        leak: share of the potential that stays from step to step; 1 for none that is lost.
        delayed: 1 to fire on the potential of the step before, as the authors' program does: without an initial potential the
            same spikes one step later, those of the last step left out.

    Raises:
        UserError: the share is not above 0, or above 1.
    """

    strict = True

    def __init__(self, leak: float = 1.0, delayed: float = 0) -> None:
        if not is_number(leak) or not 0 < leak <= 1:
            raise UserError(f"the share of a potential that stays is above 0 and at most 1, not {leak}")
        self.kept, self.delayed = max(1, round(leak * PARTS)), bool(delayed)

    @property
    def leak(self) -> float:
        """Share of the potential that stays, the fraction that is computed with."""
        return self.kept / PARTS

    def initial_state(self, numbers: Numbers, like: Tensor) -> Membrane:
        """Every neuron at its initial potential."""
        return Membrane(numbers["initial_potential"].expand_as(like))

    def step(self, current: Tensor, state: Membrane, numbers: Numbers, fires: Crossing = exceeds) -> tuple[Tensor, Membrane]:
        """Spikes, 0 or 1, and the state after the reset; with another crossing than its own it learns, and nothing is rounded.

        Shape: (B, ...).
        """
        u = state.v if self.delayed else state.v + current
        spikes = fires(u, numbers["threshold"])
        left = self._leaked(u) if fires is exceeds else u * self.leak
        v = left - spikes * numbers["threshold"]
        return spikes, Membrane(v + current if self.delayed else v)

    def _leaked(self, u: Tensor) -> Tensor:
        """floor(k u / 256), in whole numbers of any type: no product is larger than the potential, or than 2^16."""
        if self.kept == PARTS:
            return u
        whole = torch.div(u, PARTS, rounding_mode="floor")
        rest = u - whole * PARTS
        return whole * self.kept + torch.div(rest * self.kept, PARTS, rounding_mode="floor")

    def reach(self, numbers: Numbers, steps: int) -> Tensor:
        """Magnitude of a charge, by whole numbers of thresholds, above which they fire at each of so many steps.

        Of c thresholds, leak^(N-1) c - (1 + leak + ... + leak^(N-2)) are left at the last step, which is more than 1 if c is
        more than leak^-(N-1) + (leak^-1 + ... + leak^-(N-1)). A threshold more makes up for rounding: where nothing leaks, they
        are N + 1. What leaks fast would need more than integers hold; it has no more than `MOST_REACH`, and what is above
        counts as that. Shape: (C_out,), float64.
        """
        needed, most = 1.0, max(MOST_REACH, steps + 1)
        for _ in range(steps - 1):
            needed = min((needed + 1) / self.leak, most)
        return numbers["threshold"].double() * min(ceil(needed) + 1, most)

    def as_integrate_and_fire(self, numbers: Numbers) -> Numbers | None:
        """Numbers of integrate-and-fire neurons that fire the same, where nothing leaks.

        To be above a threshold is to reach 1 quantum more; their potentials are 1 quantum less at any time.
        """
        if type(self) is not Leaky or self.kept < PARTS or self.delayed:
            return None
        return {**numbers, "initial_potential": numbers["initial_potential"] - 1}
