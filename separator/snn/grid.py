"""Grids of numbers on which 32-bit floating point adds without rounding.

A spike is a decision: two machines, batch sizes or kernels that add the same currents in another order must not decide
differently. All weights, biases and thresholds of a spiking layer are therefore multiples of one power of two, the grid
step, chosen so that no membrane potential can exceed 2^24 of them. Every partial sum is then exact in float32, and so the
spikes are the same bits in whatever order, precision of accumulation, schedule or batch they are computed.
"""

import math

import torch
from torch import Tensor

EXACT = 2.0**24  # float32 holds every integer up to here


def grid_step(largest: float) -> float:
    """Smallest power of two q such that numbers up to `largest` are at most 2^23 q: a factor of two is left for snapping."""
    return 2.0 ** math.ceil(math.log2(max(largest, 2.0**-100) / (EXACT / 2)))


def snap(x: Tensor, step: float) -> Tensor:
    """Nearest multiples of `step`, ties to even."""
    return torch.round(x / step) * step


def potential_bound(weight: Tensor, bias: Tensor, threshold: Tensor, window: int) -> float:
    """Bound of any membrane potential or partial sum of currents over a time window.

    Args:
        weight: (C_out, ...), what one spike of each input adds.
        bias: (C_out,), constant current per step.
        threshold: (1,) or (C_out,).
        window: time steps N_s.
    """
    per_step = weight.detach().flatten(1).abs().sum(1, dtype=torch.float64) + bias.detach().abs()
    return float(window * per_step.max() + 2 * threshold.max())
