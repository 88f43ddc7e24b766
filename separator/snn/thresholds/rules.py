"""Threshold rules by name: upper bounds a_u of activations, which are N_s thresholds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from separator.snn.registry import Registry
from separator.snn.thresholds.bounds import activation_bound, check_percentile, least_squares_bound, rate_bound


class Observed:
    """Activations and currents of a layer on calibration batches; made when a rule first looks.

    Args:
        activations: makes the analog activations of each batch, (B, C, ...), of the layer and of those that have thresholds in
            common with it.
        currents: makes the currents of each batch that reach the layer's neurons at each step, from the spikes of the layers
            before and with the constant current, in units of activation, (N_s, B, C, ...).
    """

    def __init__(self, activations: Callable[[], Iterable[Tensor]], currents: Callable[[], Iterable[Tensor]]) -> None:
        self._activations, self.currents = activations, currents

    @cached_property
    def activations(self) -> Sequence[Tensor]:
        """Activations of each batch, on the CPU."""
        return [a.detach().cpu() for a in self._activations()]


@dataclass(frozen=True)
class ThresholdOptions:
    """Options that threshold rules may heed."""

    window: int  # time steps N_s
    initial_potential: float = 0.0  # in thresholds
    percentile: float = 99.0
    channelwise: bool = False  # a bound per channel instead of one per layer
    rate: float | None = None  # mean spikes per neuron and step

    def __post_init__(self) -> None:
        check_percentile(self.percentile)


@dataclass(frozen=True)
class ThresholdRule:
    """Rule by which an upper bound a_u is set."""

    bound: Callable[[Observed, ThresholdOptions], Tensor]  # (1,) or (C,)
    clips: bool = False  # whether much lies above it, so that what layers behind see is clipped to it


def _percentile(seen: Observed, options: ThresholdOptions) -> Tensor:
    return activation_bound(seen.activations, options.percentile, options.channelwise)


def _least_squares(seen: Observed, options: ThresholdOptions) -> Tensor:
    return least_squares_bound(seen.activations, options.window, options.initial_potential, options.channelwise)


def _rate(seen: Observed, options: ThresholdOptions) -> Tensor:
    return rate_bound(seen.activations[0], options.rate or 0.0)


THRESHOLDS: Registry[ThresholdRule] = Registry(
    "threshold rule",
    {
        "percentile": ThresholdRule(_percentile),
        "least-squares": ThresholdRule(_least_squares),
        "rate": ThresholdRule(_rate, clips=True),
    },
)
