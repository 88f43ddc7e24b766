"""Threshold rules by name: upper bounds a_u of activations, as many thresholds as the spikes of a train come to at most."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from separator.errors import UserError
from separator.ranges import check_numbers
from separator.snn.layers.dynamics import MOST_STEPS
from separator.snn.registry import Registry
from separator.snn.thresholds.balanced import largest_current
from separator.snn.thresholds.bounds import activation_bound, check_percentile, least_squares_bound, rate_bound


class Observed:
    """Activations and currents of a layer on calibration batches; made when a rule first looks.

    Args:
        activations: makes the analog activations of each batch, (B, C, ...), of the layer and of those that have thresholds in
            common with it.
        currents: makes the currents that reach the layer's neurons, from the spikes of the layers before and with the constant
            current, in units of activation, (steps, B, C, ...), of some or all steps of one batch after another.
        weight: of the layer's synapses, batch norm folded in.
        spike: makes the activation that a spike that the layer sees stands for, (1,) or (C,); None if its input is analog.
        bypassed: whether the layer is in a block that a shortcut goes past, its last one included.
    """

    def __init__(
        self,
        activations: Callable[[], Iterable[Tensor]],
        currents: Callable[[], Iterable[Tensor]],
        weight: Callable[[], Tensor],
        spike: Callable[[], Tensor | None] = lambda: None,
        bypassed: bool = False,
    ) -> None:
        self.each, self.currents, self.weight, self.spike, self.bypassed = activations, currents, weight, spike, bypassed

    @cached_property
    def activations(self) -> Sequence[Tensor]:
        """Activations of each batch, on the CPU."""
        return [a.detach().cpu() for a in self.each()]


@dataclass(frozen=True)
class ThresholdOptions:
    """Options that threshold rules may heed."""

    window: int  # time steps N_s
    initial_potential: float = 0.0  # in thresholds
    percentile: float = 99.0  # of activations; of currents where thresholds are balanced
    channelwise: bool = False  # a bound per channel instead of one per layer
    rate: float | None = None  # mean spikes per neuron and step
    limits: tuple[int, int] | None = None  # least and largest sum of the spikes of a train; None for 0 and N_s
    scale: float = 1.0  # of unit thresholds, and of balanced ones, once all of them are found
    steps: int | None = None  # time steps that they are balanced over; None for N_s
    below: float | None = None  # initial potential in negative thresholds; None for the same as in positive ones

    @property
    def levels(self) -> int:
        """Thresholds that an upper bound comes to."""
        return self.window if self.limits is None else self.limits[1]

    @property
    def least(self) -> int:
        """The same of a lower bound, 0 or less."""
        return 0 if self.limits is None else self.limits[0]

    def __post_init__(self) -> None:
        check_percentile(self.percentile)
        check_numbers(self, scale=(2.0**-10, 2.0**10), steps=(1, MOST_STEPS))


@dataclass(frozen=True)
class ThresholdRule:
    """Rule by which an upper bound a_u is set."""

    bound: Callable[[Observed, ThresholdOptions], Tensor]  # (1,) or (C,)
    clips: bool = False  # whether much lies above it, so that what layers behind see is clipped to it
    # Whether it balances the layers' thresholds, so that these are scaled, and found over a number of steps of its own.
    balances: bool = False
    scales: bool = False  # whether it heeds `ThresholdOptions.scale`


def _percentile(seen: Observed, options: ThresholdOptions) -> Tensor:
    sizes = seen.activations if options.least == 0 else [a.abs() for a in seen.activations]
    return activation_bound(sizes, options.percentile, options.channelwise)


def _least_squares(seen: Observed, options: ThresholdOptions) -> Tensor:
    limits = options.least, options.levels
    return least_squares_bound(seen.activations, limits, options.initial_potential, options.channelwise, options.below)


def _rate(seen: Observed, options: ThresholdOptions) -> Tensor:
    return rate_bound(torch.cat([a.flatten() for a in seen.activations]), options.rate or 0.0)


def _scaling_factor(seen: Observed, options: ThresholdOptions) -> Tensor:
    """Largest magnitude of activations and weights (Yu et al. 2020, Algorithm 1), for spikes of 1 at each step.

    Its lambda is a ratio of two such factors, as weights there keep their scale and here take that of the spikes before.
    """
    largest = max(float(values.detach().abs().max()) for values in (seen.weight(), *seen.each()))
    return torch.full((1,), largest * options.levels / options.window)


def _unit(seen: Observed, options: ThresholdOptions) -> Tensor:
    """A spike of 1 at each step for an activation of 1, whatever activations there are: AugMapping, theta_P = 1.

    Thresholds of a k-th of that are as if all of the input were k times as large: coefficients are, too, and T steps tell as
    much as k T would.
    """
    return torch.full((1,), options.scale * options.levels / options.window)


def _balanced(seen: Observed, options: ThresholdOptions) -> Tensor:
    """The largest current at any step; of layers that shortcuts go past the threshold of the spikes that they see.

    The latter is the unit threshold of Rathi et al. 2020, section 4.2, where a spike is worth 1 at every neuron; here it is
    worth the threshold of the one that fired it.
    """
    if options.channelwise:
        raise UserError("balanced thresholds are those of whole layers; leave out channelwise")
    spike = seen.spike() if seen.bypassed else None
    largest = largest_current(seen.currents(), options.percentile) if spike is None else spike.max().view(1)
    return largest * options.levels


THRESHOLDS: Registry[ThresholdRule] = Registry(
    "threshold rule",
    {
        "percentile": ThresholdRule(_percentile),
        "least-squares": ThresholdRule(_least_squares),
        "rate": ThresholdRule(_rate, clips=True),
        "scaling-factor": ThresholdRule(_scaling_factor),
        "unit": ThresholdRule(_unit, scales=True),
        "balanced": ThresholdRule(_balanced, balances=True, scales=True),
    },
)
