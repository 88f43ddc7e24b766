"""Reports of a conversion: losses of each layer and epoch, and agreement of spikes with activations."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.signal import Signal
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.spikes.trains import Spikes


@dataclass(frozen=True)
class LayerReport:
    """One layer of a conversion: losses on the dev batches, and how well spikes stand for activations."""

    index: int
    role: str
    loss_before: float  # this layer still analog, the ones before it spiking
    loss_converted: float
    loss_tuned: float
    epochs: int
    threshold: list[float]
    agreement: dict[str, float]  # see `agreement`; empty for the readout
    seconds: float = 0.0
    turn: int = 0  # of the passes over the layers


@dataclass(frozen=True)
class Noted:
    """Loss and scores of a conversion after an epoch."""

    layer: int  # counted on through the passes
    epoch: int | None  # of the layer; 0 where it has just been converted, None before that
    loss: float  # on the dev batches
    scores: dict[str, float]  # by the name of the batches that they are of


@torch.no_grad()
def agreement(twin: AnalogLayer, spiking: SpikingLayer, signals: Iterable[tuple[Signal, Signal | None]]) -> dict[str, float]:
    """Compare spike counts times threshold with the analog twin's activations on the same input.

    Args:
        twin: the analog layer.
        spiking: the layer.
        signals: what it sees, and what its shortcut sees if that is something else.

    Returns:
        rate: mean spikes per neuron and time step;
        negative: share of spikes that are;
        coefficient, highest: mean and largest magnitude of a spike;
        largest: largest magnitude of the sum of a train, where spikes of 1 at every step make 1;
        silent, saturated: shares of neurons that never fire, or as much as they can, on an input;
        below: share of those that fire as much as they can below zero;
        correlation: Pearson's, over all neurons;
        error: root mean square difference over the root mean square activation.
    """
    if spiking.role == "readout":
        return {}
    n = fired_sum = silent = saturated = below = negative = largest = magnitude = highest = 0.0
    moments = torch.zeros(5, dtype=torch.float64)  # sums of a, b, aa, bb, ab for activation a and spiking b
    low, high = spiking.neuron.limits(spiking.window)
    full = high / spiking.neuron.limits(1)[1]  # what spikes of 1 at every step come to
    for signal, beside in signals:
        incoming = signal.activation if signal.spikes is None else signal.spikes
        spikes = spiking.run(incoming, None if beside is None else beside.spikes)
        assert isinstance(spikes, Spikes)
        counts = spikes.events
        a = twin(signal.activation, None if beside is None else beside.activation).double()
        b = spiking.activation(spikes).double()
        n += counts.numel()
        fired_sum += float(counts.sum(dtype=torch.float64))
        largest = max(largest, float(spikes.values.abs().max()) / full)
        silent += float((counts == 0).sum())
        saturated += float((spikes.values == high).sum())
        below += float((spikes.values == low).sum()) if low else 0.0
        found = polarities_of(spikes, spiking.neuron.limits(1))
        negative, magnitude, highest = negative + found.negative, magnitude + found.magnitude, max(highest, found.highest)
        moments += torch.stack([a.sum(), b.sum(), (a * a).sum(), (b * b).sum(), (a * b).sum()]).cpu()
    a_mean, b_mean, aa, bb, ab = (moments / n).tolist()
    spread = ((aa - a_mean**2) * (bb - b_mean**2)) ** 0.5
    return {
        "rate": fired_sum / n / spiking.window,
        "negative": negative / fired_sum if fired_sum else 0.0,
        "coefficient": magnitude / fired_sum if fired_sum else 0.0,
        "highest": highest,
        "largest": largest,
        "silent": silent / n,
        "saturated": (saturated + below) / n,
        "below": below / n,
        "correlation": (ab - a_mean * b_mean) / spread if spread > 0 else 0.0,
        "error": (max(0.0, aa - 2 * ab + bb) / aa) ** 0.5 if aa > 0 else 0.0,
    }


class Polarities(NamedTuple):
    """What spikes are, beside how many."""

    negative: float  # how many are below zero
    magnitude: float  # sum of their magnitudes
    highest: float  # largest of these


def polarities_of(spikes: Spikes, limits: tuple[int, int]) -> Polarities:
    """Signs and coefficients of the spikes of trains; `limits` are those of a single one."""
    if limits == (0, 1):
        fired = float(spikes.events.sum(dtype=torch.float64))
        return Polarities(0.0, fired, float(fired > 0))
    negative = magnitude = highest = 0.0
    for step in spikes.steps():
        sizes = step.abs()
        negative += float((step < 0).sum())
        magnitude, highest = magnitude + float(sizes.sum(dtype=torch.float64)), max(highest, float(sizes.max()))
    return Polarities(negative, magnitude, highest)
