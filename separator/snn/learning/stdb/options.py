"""Options of learning through time from spike bits: what stands for the derivative of a spike."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from separator.errors import UserError
from separator.ranges import MOST, check_flags, check_numbers

Derivative = Literal["stdb", "linear", "exponential"]


@dataclass(frozen=True)
class StdbOptions:
    """What stands for the derivative of a spike with respect to the potential u, whose unit is one spike times one weight.

    By the time since the neuron's last spike, alpha exp(-beta dt), and zero before the first one (Eq. 11), or by the distance
    from the threshold V, alpha max(0, 1 - |u - V|) or alpha exp(-beta |u - V|) (Eq. 13 and 14).
    """

    derivative: Derivative = "stdb"  # stdb (by the time since the last spike), linear or exponential (by the potential)
    alpha: float = 0.3  # height of the derivative of a spike
    beta: float = 0.01  # how fast it decays
    own_spike: bool = True  # dt is 0 where the neuron fires (Fig. 1); false, as the authors' code has it: since the one before
    through_reset: bool = True  # a spike passes gradients through its reset too; false, as the authors' code has it: none
    over_threshold: bool = False  # derivatives are divided by V, as in the authors' code
    # The loss sees the last layer's potential a step as spikes make it, each adding a weight (Eq. 4); false: what it stands
    # for, which is the smaller the lower thresholds are, as when they were scaled down.
    loss_of_spikes: bool = False

    def __post_init__(self) -> None:
        if self.derivative not in get_args(Derivative):
            raise UserError(f"there is no derivative '{self.derivative}'; take one of {', '.join(get_args(Derivative))}")
        check_flags(self)
        check_numbers(self, alpha=(0.0, MOST), beta=(0.0, MOST))

    @property
    def by_time(self) -> bool:
        """True if spikes alone tell the derivative; else potentials do."""
        return self.derivative == "stdb"


def time_table(options: StdbOptions, steps: int, like: Tensor) -> Tensor:
    """Derivatives by the time since the last spike, 0 to `steps` - 1, and 0 at `steps` for neurons that have not fired yet.

    Shape: (steps + 1,), of the type and on the device of `like`.
    """
    table = [options.alpha * math.exp(-options.beta * dt) for dt in range(steps)]
    return torch.tensor([*table, 0.0], dtype=torch.float64).to(like)


def by_potential(options: StdbOptions, potential: Tensor, threshold: Tensor) -> Tensor:
    """Derivatives by the distance from the threshold (Eq. 13 and 14). Shape: (K, B, ...)."""
    distance = (potential - threshold).abs_()
    if options.derivative == "linear":
        return distance.neg_().add_(1).clamp_min_(0).mul_(options.alpha)
    return distance.mul_(-options.beta).exp_().mul_(options.alpha)
