"""Signals that go from layer to layer of a network that is analog, spiking or both."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.shapes import per_channel
from separator.snn.spikes.trains import Spikes, joined


class Signal(NamedTuple):
    """Signal that a layer hands on: spikes, and beside them the activation that they stand for."""

    activation: Tensor  # (B, ...), differentiable; of spiking layers the sum of the spikes times threshold
    spikes: Spikes | None = None  # None where the sender is analog
    scale: Tensor | None = None  # activation that one spike stands for, the sender's threshold, (1,) or (C,)
    trains: Tensor | None = None  # (N_s, B, ...), differentiable; in place of spikes where learning goes through time
    readings: Tensor | None = None  # (S, B, ...), of a readout: what its potential stands for at the end of each segment


def joined_signals(signals: Sequence[Signal]) -> Signal:
    """Signals of several layers as that of one, channel behind channel; all of them are of one kind."""
    if len(signals) == 1:
        return signals[0]
    spikes = [signal.spikes for signal in signals if signal.spikes is not None]
    trains = [signal.trains for signal in signals if signal.trains is not None]
    scales = [signal.scale.expand(signal.activation.shape[1]) for signal in signals if signal.scale is not None]
    return Signal(
        torch.cat([signal.activation for signal in signals], 1),
        joined(spikes, 1) if len(spikes) == len(signals) else None,
        torch.cat(scales) if len(scales) == len(signals) else None,
        torch.cat(trains, 2) if len(trains) == len(signals) else None,
    )


def currents_of(layer: AnalogLayer, signal: Signal, beside: Signal | None, window: int) -> Tensor:
    """Currents of each step that the spikes of signals cause in the neurons of a layer, its constant current included.

    The layer, batch norm included, is applied to the spikes of each step as if every step were like it, over N_s: that is
    Eq. 3 of Wu et al. 2021 with folded weights and a constant current of bias / N_s.

    Shape: (N_s, B, C, ...), in units of activation, differentiable.
    """
    z = layer.preactivation(_alike(signal, window), None if beside is None else _alike(beside, window))
    return torch.stack((z / window).chunk(window))


def _alike(signal: Signal, window: int) -> Tensor:
    """Activations as if every step were like each of them, time folded into the batch. Shape: (N_s B, ...)."""
    trains = signal.trains
    if trains is None:
        assert signal.spikes is not None
        trains = signal.spikes.trains()
    assert signal.scale is not None
    return (trains * (per_channel(signal.scale, signal.activation) * window)).flatten(0, 1)
