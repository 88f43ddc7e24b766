"""Reports of a conversion: losses of each layer and epoch, and agreement of spikes with activations."""

from collections.abc import Iterable
from dataclasses import dataclass

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
        negative: share of spikes that are, of the sums of trains;
        largest: largest magnitude of the sum of a train over the steps, the mean coefficient of such a neuron;
        silent, saturated: shares of neurons that never fire, or as much as they can, on an input;
        correlation: Pearson's, over all neurons;
        error: root mean square difference over the root mean square activation.
    """
    if spiking.role == "readout":
        return {}
    n = fired_sum = silent = saturated = negative = largest = 0.0
    moments = torch.zeros(5, dtype=torch.float64)  # sums of a, b, aa, bb, ab for activation a and spiking b
    low, high = spiking.neuron.limits(spiking.window)
    for signal, beside in signals:
        incoming = signal.activation if signal.spikes is None else signal.spikes
        spikes = spiking.run(incoming, None if beside is None else beside.spikes)
        assert isinstance(spikes, Spikes)
        counts = spikes.events
        a = twin(signal.activation, None if beside is None else beside.activation).double()
        b = spiking.activation(spikes).double()
        n += counts.numel()
        fired_sum += float(counts.sum(dtype=torch.float64))
        negative += float(counts[spikes.values < 0].sum(dtype=torch.float64))
        largest = max(largest, float(spikes.values.abs().max()) / spiking.window)
        silent += float((counts == 0).sum())
        saturated += float(((spikes.values == high) | ((spikes.values == low) & (low != 0))).sum())
        moments += torch.stack([a.sum(), b.sum(), (a * a).sum(), (b * b).sum(), (a * b).sum()]).cpu()
    a_mean, b_mean, aa, bb, ab = (moments / n).tolist()
    spread = ((aa - a_mean**2) * (bb - b_mean**2)) ** 0.5
    return {
        "rate": fired_sum / n / spiking.window,
        "negative": negative / fired_sum if fired_sum else 0.0,
        "largest": largest,
        "silent": silent / n,
        "saturated": saturated / n,
        "correlation": (ab - a_mean * b_mean) / spread if spread > 0 else 0.0,
        "error": (max(0.0, aa - 2 * ab + bb) / aa) ** 0.5 if aa > 0 else 0.0,
    }
