"""The quanta that each spiking neuron's integers count.

A spike is a decision: two machines, batch sizes or kernels that add the same currents in another order must not decide
differently. Weights, biases and thresholds of each spiking neuron are therefore whole numbers of one power of two, its
quantum, chosen so that its membrane potential cannot exceed 2^24 of them. Every partial sum is then exact in 32-bit integers
and in float32 alike, and so the spikes are the same bits in whatever order, precision of accumulation, schedule or batch they
are computed. A coarser quantum makes the weights integers of few bits.

Where that would leave weights with fewer than 8 bits, for neurons with so many inputs over so many steps, sums are long: up to
2^40 quanta, exact in float64, while every single number stays below 2^24, so that float32 holds it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

EXACT = 2.0**24  # float32 holds every integer up to here
LONG = 2.0**40  # as far as long sums go in a window; those of 2^8 windows are exact in float64 all the same
FEWEST_BITS = 8  # of weights, below which sums are long instead
TINIEST = 2.0**-123  # quantum of what is all zero
BLOCK = 2**22  # numbers that are looked at at a time
ROUNDING = 2.0**-20  # relative error of some operations in float32, and far less than half a quantum of 16 bits


def power_above(x: Tensor) -> Tensor:
    """Smallest powers of two that are at least `x` and TINIEST."""
    mantissa, exponent = torch.frexp(x.double().clamp_min(TINIEST))
    return torch.ldexp(torch.ones_like(mantissa), exponent - (mantissa == 0.5).int())


def potential_quantum(largest: Tensor, exact: float = EXACT) -> Tensor:
    """Smallest powers of two q such that numbers up to `largest` are at most half of `exact` q: half is left for rounding."""
    return power_above(largest.double() / (exact / 2))


def weight_quantum(weight: Tensor, bits: int) -> Tensor:
    """Smallest powers of two that make the weights of each neuron signed integers of so many bits. Shape: (C_out,).

    A largest weight that is the largest integer but for a rounding error, as after a detour through the analog network, rounds
    to it: the quantum stays what it was.
    """
    largest = weight.detach().flatten(1).abs().amax(1)
    return power_above(largest.double() * (1 - ROUNDING) / (2 ** (bits - 1) - 1))


def in_quanta(x: Tensor, quantum: Tensor) -> Tensor:
    """Nearest whole numbers of quanta, ties to even. Shapes: (C, ...), (C,) -> (C, ...), of the type of `x`."""
    return torch.round(x / quantum.to(x.dtype).view(-1, *[1] * (x.dim() - 1)))


def snap(x: Tensor, quantum: Tensor) -> Tensor:
    """Nearest multiples of the quantum of each channel, ties to even. Shapes: (C, ...), (C,) -> (C, ...)."""
    return in_quanta(x, quantum) * quantum.to(x.dtype).view(-1, *[1] * (x.dim() - 1))


def magnitudes(weight: Tensor) -> Tensor:
    """Sum of the magnitudes of each neuron's numbers. Shape: (C_out, ...) -> (C_out,), float64."""
    rows = weight.detach().reshape(len(weight), -1)
    parts = torch.split(rows, max(1, BLOCK // rows.shape[1]))
    return torch.cat([part.double().abs().sum(1) for part in parts])


def potential_bound(weight: Tensor, bias: Tensor, threshold: Tensor, window: int) -> Tensor:
    """Bound of each neuron's membrane potential and partial sums of currents over a time window. Shape: (C_out,).

    Args:
        weight: (C_out, ...), what one spike of each input adds.
        bias: (C_out,), constant current per step.
        threshold: (1,) or (C_out,).
        window: time steps N_s.
    """
    per_step = weight.detach().flatten(1).abs().sum(1, dtype=torch.float64) + bias.detach().abs()
    return window * per_step + 2 * threshold.detach().double()


def divided(x: Tensor, number: float) -> Tensor:
    """Quotients, rounded once on any device. Shape: (...) -> (...).

    CUDA would multiply by the reciprocal of a Python number, which rounds twice.
    """
    return x / x.new_full((), number)


def adding_type(largest: float) -> torch.dtype:
    """Floating-point type that adds whole numbers exactly, none of whose sums exceeds the largest."""
    return torch.float32 if largest < EXACT else torch.float64


def every_bit(device: torch.device) -> AbstractContextManager[None]:
    """Within, sums are exact as long as they fit: no autocast, no TF32 or bfloat16, none of cuDNN's transforms."""
    rounds = torch.is_autocast_enabled(device.type) or torch.get_float32_matmul_precision() != "highest"
    return _every_bit(device) if rounds or device.type == "cuda" else nullcontext()


@contextmanager
def _every_bit(device: torch.device) -> Iterator[None]:
    cudnn, precision = torch.backends.cudnn.enabled, torch.get_float32_matmul_precision()
    torch.backends.cudnn.enabled = False  # convolutions become matrix products
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.backends.cudnn.enabled = cudnn
        torch.set_float32_matmul_precision(precision)
