"""Thresholds in the unit in which a spike adds the weight of its synapse."""

from separator.snn.layers.spiking import SpikingLayer
from separator.snn.stack.graph import INPUT
from separator.snn.stack.stack import Stack


def thresholds_in_spikes(stack: Stack) -> list[float | None]:
    """Threshold of each layer of a wholly spiking stack where a spike of the layers before adds the weight of its synapse.

    That is the unit of Rathi et al. 2020 (Algorithm 1, and v of Fig. 3). Here weights take in what a spike stands for, the
    threshold of the neuron that fired it in units of activation, so that a threshold is divided by that; both are means over
    channels. Of the input a spike, or a step of a constant current, stands for a share of 1 / N_s. None for a layer that does
    not fire. A shortcut's spikes may stand for something else; the unit is that of the map beside it.

    Raises:
        ValueError: the stack is not wholly spiking.
    """
    layers = stack.spiking_layers()
    if stack.converted < len(stack.layers):
        raise ValueError("thresholds in spikes are those of a wholly spiking stack")
    worth = {INPUT: 1 / layers[0].window} | {i: _mean(layer) for i, layer in enumerate(layers[:-1])}
    channels = {INPUT: 1} | {i: len(layer.scale) for i, layer in enumerate(layers[:-1])}

    def unit(seen: tuple[int, ...]) -> float:
        return sum(worth[i] * channels[i] for i in seen) / sum(channels[i] for i in seen)

    return [None if layer.role == "readout" else _mean(layer) / unit(stack.sources[i][0]) for i, layer in enumerate(layers)]


def _mean(layer: SpikingLayer) -> float:
    return float(layer.scale.double().mean())
