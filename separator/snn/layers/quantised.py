"""Activations that take as many values as spike counts do: clipped, rounded, with gradients that pass through."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

BOUND = 3.0  # first upper bound of activations: three standard deviations of what batch norm makes


def straight_through(
    a: Tensor, threshold: Tensor, counts: Tensor | None, limits: tuple[int, int], stands_for: Tensor | None = None
) -> Tensor:
    """What spike counts stand for, with the gradient of a quantiser with a learned step (Esser et al. 2020, Eq. 3).

    To what is quantised it is 1 between the limits, in thresholds, and 0 outside, where a neuron that fires not at all, or as
    much as it can, fires no otherwise for a little more. To the threshold it is what rounding adds.

    Args:
        a: activation that spikes stand for, whose own derivative is the gradient's way on; where it is rectified, what neurons
            are charged with does as well, as there is nothing below the lower limit. (B, C, ...).
        threshold: broadcasts against it.
        counts: sums of spikes, (B, C, ...), or None for those nearest to `a` over the threshold.
        limits: least and largest count.
        stands_for: their values, if they are not counts times threshold to the last bit.
    """
    with torch.no_grad():
        if counts is None:
            counts = (a / threshold).clamp_(*limits).add_(0.5).floor_()
        if stands_for is None:
            stands_for = counts * threshold
    passed: Tensor = _StraightThrough.apply(a, threshold, counts, stands_for, limits)  # type: ignore[no-untyped-call]
    return passed


class _StraightThrough(torch.autograd.Function):
    """In one piece: by torch's own operations it were a dozen, each of which goes through all of the memory."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, threshold: Tensor, counts: Tensor, stands_for: Tensor, limits: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(a, threshold, counts)
        ctx.limits = limits
        return stands_for.view_as(stands_for)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        a, threshold, counts = ctx.saved_tensors
        of_a, of_threshold, *_ = ctx.needs_input_grad
        ratio = a / threshold
        inside = (ratio >= ctx.limits[0]).logical_and_(ratio <= ctx.limits[1])
        to_a = gradient * inside if of_a else None
        to_threshold = None
        if of_threshold:
            to_threshold = (counts - ratio.mul_(inside)).mul_(gradient).sum_to_size(threshold.shape)
        return to_a, to_threshold, None, None, None


class QuantisedReLU(nn.ReLU):
    """Activation in `levels` equal steps up to a learned bound, in place of ReLU while an analog network is trained.

    a = bound / levels * clip(floor(levels * z / bound + 1/2), 0, levels) (Bu et al. 2022, "Optimal ANN-SNN conversion for
    high-accuracy and ultra-low-latency spiking neural networks", Eq. 11). A layer-by-layer spiking layer of as many steps and
    a initial potential of half a threshold, bound / levels, fires the very count.

    Args:
        levels: above zero.

    Raises:
        ValueError: there are none.
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        if levels < 1:
            raise ValueError(f"activations have at least 1 level above zero, not {levels}")
        self.levels = levels
        self.gain = nn.Parameter(torch.zeros(1))  # logarithmic, so that a step of learning is relative

    @property
    def bound(self) -> Tensor:
        """Largest activation, (1,)."""
        return BOUND * self.gain.exp()

    def forward(self, z: Tensor) -> Tensor:
        """Activation of what batch norm gives. Shape: any."""
        return straight_through(z, self.bound / self.levels, None, (0, self.levels))

    def extra_repr(self) -> str:
        """For messages."""
        return f"levels={self.levels}"
