"""Learning through time: spikes step by step, backpropagation with a surrogate for their derivative (Wu et al. 2018, 2019).

A spike is a step function of the membrane potential, whose derivative is zero or does not exist. A smoother step's derivative
stands for it on the way back, while spikes stay what they are on the way forward.

Y. Wu, L. Deng, G. Li, J. Zhu, L. Shi, "Spatio-temporal backpropagation for training high-performance spiking neural networks",
2018; the same and Y. Xie, "Direct training for spiking neural networks: faster, larger, better", 2019.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from separator.errors import UserError
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics, Role
from separator.snn.layers.shapes import per_channel
from separator.snn.layers.signal import Signal
from separator.snn.learning.through_time import ThroughTimeLayer
from separator.snn.neurons.neuron import crosses
from separator.snn.spikes.augmented import AugmentedSpikes

SurrogateName = Literal["rectangular", "triangular", "sigmoid", "arctan"]


def rectangular(u: Tensor, width: float) -> Tensor:
    """1/a where |u| < a/2, else 0 (Wu et al. 2018, h_1; the one of Wu et al. 2019)."""
    return (u.abs() < width / 2).to(u.dtype) / width


def triangular(u: Tensor, width: float) -> Tensor:
    """1/a max(0, 1 - |u| / a) (Esser et al. 2016; Bellec et al. 2018)."""
    return (1 - u.abs() / width).clamp_min(0) / width


def sigmoid(u: Tensor, width: float) -> Tensor:
    """1/a e^(-u/a) / (1 + e^(-u/a))^2, the derivative of the logistic function (Wu et al. 2018, h_3)."""
    y = torch.sigmoid(u / width)
    return y * (1 - y) / width


def arctan(u: Tensor, width: float) -> Tensor:
    """1 / (a (1 + (pi u / a)^2)), the derivative of the arctangent of pi u / a over pi (Fang et al. 2021)."""
    return 1 / (width * (1 + (math.pi * u / width) ** 2))


# Derivatives h(u) of steps from 0 to 1 at u = 0, by name; the area below each is 1, whatever its width a.
SURROGATES: dict[SurrogateName, Callable[[Tensor, float], Tensor]] = {
    "rectangular": rectangular,
    "triangular": triangular,
    "sigmoid": sigmoid,
    "arctan": arctan,
}


@dataclass(frozen=True)
class Surrogate:
    """A function that stands for the derivative of a spike with respect to (potential - threshold) / threshold."""

    name: SurrogateName = "rectangular"
    width: float = 1.0  # a, in thresholds

    def __post_init__(self) -> None:
        if self.name not in SURROGATES:
            raise UserError(f"there is no surrogate '{self.name}'; take {', '.join(SURROGATES)}")
        if not 0 < self.width < math.inf:
            raise UserError(f"the width of a surrogate is above 0 thresholds, not {self.width}")

    def fires(self, v: Tensor, threshold: Tensor) -> Tensor:
        """1 where the potential reaches the threshold, else 0, with a derivative. Shape: (B, ...)."""
        spikes: Tensor = _Spike.apply(v, threshold, self)  # type: ignore[no-untyped-call]
        return spikes


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: Tensor, threshold: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(v, threshold)
        ctx.surrogate = surrogate
        return crosses(v, threshold)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        v, threshold = ctx.saved_tensors
        surrogate = ctx.surrogate
        return gradient * SURROGATES[surrogate.name]((v - threshold) / threshold, surrogate.width) / threshold, None, None


class SurrogateLayer(ThroughTimeLayer):
    """A spiking layer that learns through time, a surrogate standing for the derivative of its spikes.

    Where `TandemLayer` has one analog activation for all spikes of the window, here each step has a synaptic current of its
    own: the analog layer, batch norm included, applied to the spikes of that step as if every step were like it, over N_s.
    Statistics of batch norm are over batch and time. That is the current of Eq. 3 with folded weights and a constant current
    of bias / N_s, so that `spiking` makes the very same neurons of it, in integers. The gradient goes through synapses, resets
    and, by the surrogate, spikes.

    Args:
        layer, role, threshold, dynamics, batch_statistics, segment, inherits: see `ThroughTimeLayer`.
        surrogate: what stands for the derivative of a spike.

    Raises:
        UserError: layers wait for all of their input, so that no spike has a time, or spikes have coefficients.
    """

    def __init__(
        self,
        layer: AnalogLayer,
        role: Role,
        threshold: Tensor,
        dynamics: Dynamics,
        surrogate: Surrogate,
        batch_statistics: bool = False,
        segment: int | None = None,
        inherits: bool = False,
    ) -> None:
        # Whole thresholds in a potential have no derivative, nor if there is one at most.
        if dynamics.model.largest > 1 or issubclass(dynamics.model.spikes, AugmentedSpikes):
            raise UserError("spikes with coefficients do not learn through time; take the learning rule 'tandem'")
        super().__init__(
            layer, role, threshold, dynamics, batch_statistics=batch_statistics, segment=segment, inherits=inherits
        )
        self.surrogate = surrogate

    def _fire(self, currents: list[Tensor], signal: Signal) -> tuple[Tensor, Tensor]:
        model, threshold = self.dynamics.model, per_channel(self.threshold, currents[0])
        numbers = model.in_units(threshold, self.dynamics.initial_potential, self.layer.activation)
        state, trains = model.initial_state(numbers, currents[0]), []
        for t, current in enumerate(currents):
            if t in self.ends:
                state = type(state)(*(part.detach() for part in state))
            spikes, state = model.step(current, state, numbers, self.surrogate.fires)
            trains.append(spikes)
        return torch.stack(trains), threshold
