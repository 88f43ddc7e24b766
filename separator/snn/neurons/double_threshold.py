"""Neurons with a positive and a negative threshold, for activations that go below zero.

Yu et al. 2020, "Constructing accurate and efficient deep spiking neural networks with double-threshold and augmented schemes".
Rates of such neurons stand for a LeakyReLU of slope s if the negative threshold is 1/s times the positive one: theta_P = 1 and
theta_N = -1/s in their Eq. 12, where alpha is the slope on either side. A layer without activation has s = 1, and one with a
ReLU no negative threshold at all.
"""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.neurons.neuron import Crossing, Neuron, Numbers, crosses
from separator.snn.spikes.augmented import LARGEST, AugmentedSpikes
from separator.snn.spikes.signed import SignedSpikes
from separator.snn.spikes.trains import Spikes

NEVER = 2**31 - 1  # what stands in whole numbers for a negative threshold that there is not, whatever a potential comes to
MOST = 2**30  # quanta at which a register of 32 bits saturates, so that a charge and a current are less than it holds
STEEPEST, FLATTEST = 1.0, 2.0**-7  # slopes that the two thresholds of a neuron can stand for


class Membrane(NamedTuple):
    """Membrane potential before the next current arrives. Shape: (B, ...)."""

    v: Tensor


class Course(NamedTuple):
    """All that a neuron has got so far, and all that it has fired. Shapes: (B, ...)."""

    charge: Tensor
    fired: Tensor


def slope_of(activation: nn.Module | None) -> float:
    """Slope of an activation below zero.

    Raises:
        UserError: no two thresholds have it.
    """
    slope = 1.0 if activation is None else float(getattr(activation, "negative_slope", 0.0))
    if slope != 0 and not FLATTEST <= slope <= STEEPEST:
        raise UserError(f"neurons stand for slopes of 0 or {FLATTEST} to {STEEPEST:g} below zero, not {slope:g}")
    return slope


class DoubleThreshold(Neuron):
    """v <- v + I; a spike of 1 where v >= theta_P, of -1 where v <= theta_N; the threshold crossed is subtracted (Eq. 1-3).

    An initial potential counts towards either threshold: neurons fire by so much earlier, where they would else cut to a whole
    number. It is 0 as published; half a threshold rounds. Towards the negative threshold it is at most what leaves a neuron
    that has fired there below the positive one, as it would else take the spike back.

    Args:
        negative: 0 to take the negative threshold away, which shows what it is good for (section III-E).
    """

    names = ("threshold", "initial_potential", "negative_threshold", "negative_initial_potential")
    spikes: ClassVar[type[Spikes]] = SignedSpikes
    activations = (nn.ReLU, nn.LeakyReLU)
    settles = True

    def __init__(self, negative: float = 1) -> None:
        self.negative = bool(negative)

    def initial_state(self, numbers: Numbers, like: Tensor) -> Membrane:
        """Empty neurons."""
        return Membrane(torch.zeros_like(like))

    def step(self, current: Tensor, state: Membrane, numbers: Numbers, fires: Crossing = crosses) -> tuple[Tensor, Membrane]:
        """Spikes, -1, 0 or 1, and the state after the reset. Shape: (B, ...)."""
        v = state.v + current
        up = fires(v + numbers["initial_potential"], numbers["threshold"])
        if "negative_threshold" not in numbers:  # there is none, and no derivative by it
            return up, Membrane(v - up * numbers["threshold"])
        negative = numbers["negative_threshold"]
        down = fires(numbers["negative_initial_potential"] - v, negative) * (negative != NEVER)
        return up - down, Membrane(v - up * numbers["threshold"] + down * negative)

    def settle(self, charge: Tensor, numbers: Numbers, window: int) -> Tensor:
        """Spikes of neurons charged once, at the first step: the whole number of thresholds in the charge.

        They come as early as they can. Shape: (B, ...) -> (B, ...), int16.
        """
        least, most = self.limits(window)
        return thresholds_in(charge, numbers).clamp_(least, most).to(torch.int16)

    def in_quanta(
        self,
        threshold: Tensor,
        quantum: Tensor,
        shared: Tensor,
        initial_potential: float,
        activation: nn.Module | None = None,
    ) -> dict[str, Tensor]:
        """The model's numbers. Shapes: (C_out,), int32; the negative ones by their magnitudes."""
        numbers = super().in_quanta(threshold, quantum, shared, initial_potential, activation)
        # A start that rounds to the whole threshold would fire on nothing.
        numbers["initial_potential"] = torch.minimum(numbers["initial_potential"], (numbers["threshold"] - 1).clamp_min(0))
        slope, wide = self._slope(activation), {name: values.double() for name, values in numbers.items()}
        threshold, initial = self._negative(wide, slope, 1.0)
        numbers["negative_threshold"] = threshold.clamp_max(NEVER).round_().to(torch.int32)
        numbers["negative_initial_potential"] = initial.floor_().to(torch.int32)
        return numbers

    def in_units(self, threshold: Tensor, initial_potential: float, activation: nn.Module | None = None) -> dict[str, Tensor]:
        """The model's numbers in units of activation.

        A negative threshold that there is not is left out: one that no potential reaches has infinite gradients go through it.
        """
        numbers, slope = super().in_units(threshold, initial_potential), self._slope(activation)
        if slope == 0:
            return numbers
        names = ("negative_threshold", "negative_initial_potential")
        return numbers | dict(zip(names, self._negative(numbers, slope, 0.0), strict=True))

    def initial_below(self, initial_potential: float, activation: nn.Module | None = None) -> float:
        """Part of the negative threshold that counts towards it at first: less than of the positive one where that is lower.

        0 where there is none.
        """
        if self._slope(activation) == 0:
            return 0.0
        numbers = self.in_units(torch.ones(1, dtype=torch.float64), initial_potential, activation)
        return float(numbers["negative_initial_potential"] / numbers["negative_threshold"])

    def _slope(self, activation: nn.Module | None) -> float:
        return slope_of(activation) if self.negative else 0.0

    def _negative(self, numbers: Numbers, slope: float, least: float) -> tuple[Tensor, Tensor]:
        """Magnitudes of the negative threshold and of what counts towards it, where a threshold is more than `least`."""
        threshold, initial = numbers["threshold"], numbers["initial_potential"]
        if slope == 0:
            return torch.full_like(threshold, torch.finfo(threshold.dtype).max), torch.zeros_like(initial)
        return threshold / slope, torch.minimum(initial / slope, threshold - initial - least)

    def activation_of(self, numbers: Numbers) -> nn.Module | None:
        """A LeakyReLU whose slope is the thresholds' ratio; a ReLU where there is no negative one; None where they are one."""
        negative = numbers["negative_threshold"].double()
        if bool((negative == NEVER).all()):
            return nn.ReLU()
        widest = int(negative.argmax())  # whose ratio is the least rounded
        ratio = float(negative[widest] / numbers["threshold"][widest].double())
        return None if ratio == 1 else nn.LeakyReLU(1 / ratio)

    def check(self, numbers: Numbers, quantum: Tensor, initial_potential: float) -> None:
        """Refuse numbers (C_out,) that `in_quanta` does not make.

        Raises:
            UserError: the message names the number.
        """
        super().check(numbers, quantum, initial_potential)
        threshold, negative = numbers["threshold"].double(), numbers["negative_threshold"].double()
        if not bool(((negative == NEVER) | ((negative >= threshold) & (negative <= threshold / FLATTEST + 1))).all()):
            raise UserError("a negative threshold is neither none nor 1 to 128 times the positive one")
        if not bool((numbers["initial_potential"].double() < threshold).all()):
            raise UserError("an initial potential is below the threshold")
        initial = numbers["negative_initial_potential"].double()
        if not bool(((initial >= 0) & (initial < negative) & (initial <= self._most_below(numbers))).all()):
            raise UserError("a negative initial potential is from 0 to below the negative threshold, and what a spike leaves")

    def _most_below(self, numbers: Numbers) -> Tensor:
        """Most that may count towards the negative threshold at first: more would take a spike back. Shape: (C_out,)."""
        return numbers["threshold"].double() - numbers["initial_potential"].double() - 1

    def limits(self, window: int) -> tuple[int, int]:
        """Least and largest sum of the spikes of a train."""
        return -window, window

    def reach(self, numbers: Numbers, steps: int) -> Tensor:
        """Largest magnitude of a charge that spikes of so many steps can tell from a larger one. Shape: (C_out,)."""
        threshold = numbers["threshold"]
        negative = numbers.get("negative_threshold", threshold)
        return torch.where(negative == NEVER, threshold, negative).to(torch.float64) * (self.limits(steps)[1] + 1)


class Augmented(DoubleThreshold):
    """v <- v + I; a spike with the whole number of thresholds in v as its coefficient; these are subtracted (Eq. 4 and 5).

    The potential is a register of 32 bits, which saturates.

    Args:
        boundary: largest coefficient, M_aug of Eq. 15; 1 makes the same spikes as `DoubleThreshold`.
        negative: see there.

    Raises:
        UserError: it is not from 1 to 127.
    """

    spikes = AugmentedSpikes
    saturates = True

    def __init__(self, boundary: float = LARGEST, negative: float = 1) -> None:
        super().__init__(negative)
        if not 1 <= boundary <= LARGEST or boundary != int(boundary):
            raise UserError(f"spikes have coefficients of at most 1 to {LARGEST}, not {boundary:g}")
        self.boundary = int(boundary)

    def step(self, current: Tensor, state: Membrane, numbers: Numbers, fires: Crossing = crosses) -> tuple[Tensor, Membrane]:
        """Coefficients, and the state after the reset. Shape: (B, ...)."""
        v = (state.v + current).clamp_(-MOST, MOST)
        up, down = (part.clamp_(0, self.boundary) for part in parts_in(v, numbers))
        return up - down, Membrane(v - up * numbers["threshold"] + down * numbers["negative_threshold"])

    def limits(self, window: int) -> tuple[int, int]:
        """Least and largest sum of the coefficients of a train."""
        return -self.boundary * window, self.boundary * window

    @property
    def largest(self) -> int:
        """Largest magnitude of a spike."""
        return self.boundary

    def in_front(self, values: Tensor, window: int) -> Spikes:
        """Trains whose spikes come as early as they can, from the sum of each. Shape: (B, ...)."""
        return AugmentedSpikes.in_front(values, window, self.boundary)


class PathIndependent(Augmented):
    """A spike with what is missing to the whole number of thresholds in all that has come so far; not in the paper.

    o_t = trunc(f(C_t) / theta) - N_{t-1}, where C_t is the sum of all currents and N_{t-1} that of all spikes before. What
    a neuron has fired at a step depends on the sum of its input alone, and not on its course, so that there is a closed form
    for any number of steps, layer by layer: N_l = trunc(f(W N_{l-1})). A wrong spike is taken back with what it was worth.
    """

    def initial_state(self, numbers: Numbers, like: Tensor) -> Course:  # type: ignore[override]
        """Nothing got and nothing fired; 64-bit integers, as the sum of all currents grows with time."""
        return Course(like.new_zeros(like.shape, dtype=torch.int64), torch.zeros_like(like))

    def _negative(self, numbers: Numbers, slope: float, least: float) -> tuple[Tensor, Tensor]:
        threshold, initial = super()._negative(numbers, slope, least)
        return threshold, initial if slope == 0 else numbers["initial_potential"] / slope

    def _most_below(self, numbers: Numbers) -> Tensor:
        """Anything below the threshold, as spikes follow from the sum of the input. Shape: (C_out,)."""
        return numbers["negative_threshold"].double()

    def step(self, current: Tensor, state: Course, numbers: Numbers, fires: Crossing = crosses) -> tuple[Tensor, Course]:  # type: ignore[override]
        """Coefficients, and the state after them. Shape: (B, ...)."""
        charge = state.charge + current.to(torch.int64)
        missing = thresholds_in(charge, numbers) - state.fired  # of 64 bits, as what is due may be more than 32 hold
        spikes = missing.clamp_(-self.boundary, self.boundary).to(state.fired.dtype)
        return spikes, Course(charge, state.fired + spikes)


def parts_in(v: Tensor, numbers: Numbers) -> tuple[Tensor, Tensor]:
    """Whole thresholds in a potential, positive and negative ones; below 1 where there is none. Shape: (B, ...), type of `v`.

    Divided as 64-bit floats: a quotient of integers below 2^52 is never rounded to a whole number that it is less than.
    """
    wide, negative = v.double(), numbers["negative_threshold"]
    below = negative.double().masked_fill(negative == NEVER, torch.inf)
    up = ((wide + numbers["initial_potential"].double()) / numbers["threshold"].double()).floor_()
    down = ((numbers["negative_initial_potential"].double() - wide) / below).floor_()
    return up.to(v.dtype), down.to(v.dtype)


def thresholds_in(charge: Tensor, numbers: Numbers) -> Tensor:
    """Sum of the spikes that a charge is worth, of either sign. Shape: (B, ...), type of `charge`."""
    up, down = parts_in(charge, numbers)
    return up.clamp_min_(0) - down.clamp_min_(0)
