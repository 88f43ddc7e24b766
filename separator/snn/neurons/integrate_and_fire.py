"""Integrate-and-fire neurons as pure functions (Wu et al. 2021, Eq. 3-6).

Spike trains have time in front: (N_s, B, ...). Parameters broadcast against (B, ...).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class IFParameters(NamedTuple):
    """Firing threshold and initial potential of the neurons, in units of the membrane potential."""

    threshold: Tensor
    initial: Tensor  # 0 as published; half a threshold makes a first-step charge round, as Eq. 10 says, where 0 floors


class IFState(NamedTuple):
    """Membrane potential `v` before the next current arrives. Shape: (B, ...)."""

    v: Tensor


def initial_state(p: IFParameters, like: Tensor) -> IFState:
    """Every neuron at its initial potential. Shape: as `like`, (B, ...)."""
    return IFState(p.initial.expand_as(like))


Crossing = Callable[[Tensor, Tensor], Tensor]  # of membrane potential and threshold, 1 or 0


def crosses(v: Tensor, threshold: Tensor) -> Tensor:
    """1 where the potential reaches the threshold, else 0 (Eq. 5). Shape: (B, ...), of the type of `v`."""
    return (v >= threshold).to(v.dtype)


def if_step(current: Tensor, state: IFState, p: IFParameters, fires: Crossing = crosses) -> tuple[Tensor, IFState]:
    """One step of an integrate-and-fire neuron with reset by subtraction (Eq. 4 and 5).

    Eq. 4 subtracts the threshold of a spike together with the next current; subtracting it at once gives the same spikes.

    Args:
        current: synaptic current of this step, (B, ...).
        state: before it arrives.
        p: the neurons.
        fires: Eq. 5, or the same with a derivative.

    Returns:
        spikes, 0 or 1 (B, ...), and the state after the reset.
    """
    v = state.v + current
    spikes = fires(v, p.threshold)
    return spikes, IFState(v - spikes * p.threshold)


def integrate_and_fire(currents: Tensor, p: IFParameters) -> Tensor:
    """Spike trains of neurons fed `currents`. Shape: (N_s, B, ...) -> (N_s, B, ...)."""
    state = initial_state(p, currents[0])
    trains = torch.empty_like(currents)
    for t, current in enumerate(currents):
        trains[t], state = if_step(current, state, p)
    return trains


def count_charge(charge: Tensor, p: IFParameters, window: int) -> Tensor:
    """Spikes of neurons charged once, at the first step (section 3.4): clip(floor((charge + initial) / threshold), 0, N_s).

    They come first, one a step. Shape: (B, ...) -> (B, ...), int8. Exact for whole numbers below 2^24 in float32 or int32 (or
    such multiples of a power of two): a quotient below a whole number k is so by at least 1 / threshold, and that is more than
    half the distance of k to the next float32 as long as k times the threshold is below 2^24.
    """
    return ((charge + p.initial) / p.threshold).clamp_(0, window).to(torch.int8)
