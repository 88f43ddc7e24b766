"""Conversion of all layers at once, without tuning: thresholds from the analog network alone."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from separator.snn.conversion.settings import ConversionSettings
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.fan_in import limit_fan_in
from separator.snn.layers.signal import Signal
from separator.snn.observe.report import LayerReport, agreement
from separator.snn.spikes.trains import LONGEST
from separator.snn.stack.graph import INPUT, in_layer
from separator.snn.stack.simulation import fire
from separator.snn.stack.stack import Stack


@torch.no_grad()
def convert_at_once(
    stack: Stack, inputs: Sequence[Tensor], settings: ConversionSettings, look: Callable[[], float]
) -> list[LayerReport]:
    """Make all layers of an analog stack spiking; returns a report of each, with the network's loss before and after all.

    Where connections are limited, the weakest ones go after the first look, before thresholds are taken.
    How well spikes stand for activations is told of runs of one window, on the first of the inputs.

    Args:
        stack: in evaluation mode.
        inputs: of the stack, batch by batch, that thresholds are taken from.
        settings: how to convert.
        look: tells the loss.
    """
    before = look()
    twins = [layer for layer in stack.layers if isinstance(layer, AnalogLayer)]
    if settings.fan_in is not None:
        for i, layer in enumerate(twins):
            with in_layer(i):
                limit_fan_in(layer, settings.fan_in)
    bounds = settings.percentile, settings.channelwise, settings.rate, settings.share_thresholds, settings.threshold
    stack.convert(inputs, settings.dynamics, *bounds, settings.threshold_scale, settings.balance_steps)
    layers, x = stack.spiking_layers(), inputs[0]
    agreed: list[dict[str, float]] = [{} for _ in layers]
    if settings.window <= LONGEST:
        firing = [i for i, layer in enumerate(layers) if layer.role != "readout"]
        spikes = fire(layers[: len(firing)], x, stack.sources, firing)
        handed = {INPUT: stack.input_signal(x)}
        handed |= {i: Signal(layers[i].activation(train), train, layers[i].scale) for i, train in spikes.items()}
        for i in firing:
            agreed[i] = agreement(twins[i], layers[i], [stack.incoming(handed, i)])
    after = look()
    return [
        LayerReport(i, layer.role, before, after, after, 0, layer.scale.tolist(), agreed[i]) for i, layer in enumerate(layers)
    ]
