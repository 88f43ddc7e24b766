"""Chains of layers that the identity joins: with one threshold a channel for all of them, a spike passes one for one.

The first layer's threshold is rounded to its neurons' quanta, and the next one's threshold is what a spike of the first stands
for, rounded to the next one's quanta, as is the weight of the identity: the two are the same integer.
"""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from separator.snn.layers.analog import AnalogLayer
from separator.snn.stack.graph import Sources, adds_the_one_before


def is_joined(layers: Sequence[nn.Module], sources: Sequence[Sources], index: int) -> bool:
    """True if an analog layer adds what the layer before hands on, and sees nothing else."""
    layer = layers[index]
    identity = isinstance(layer, AnalogLayer) and isinstance(layer.shortcut, nn.Identity)
    return identity and adds_the_one_before(sources, index)


def chain_from(layers: Sequence[nn.Module], sources: Sequence[Sources], head: int) -> list[AnalogLayer]:
    """Analog layers that have thresholds in common with layer `head`, that one included; a readout has none."""
    chain: list[AnalogLayer] = []
    for index in range(head, len(layers) - 1):
        if chain and not is_joined(layers, sources, index):
            break
        layer = layers[index]
        assert isinstance(layer, AnalogLayer)
        chain.append(layer)
    return chain


def activations_of(chain: Sequence[AnalogLayer], x: Tensor, beside: Tensor | None = None) -> Iterator[Tensor]:
    """Activations of the layers, one after the other. Shape: x (B, ...) -> (B, ...) each.

    Args:
        chain: the layers.
        x: what the first one sees.
        beside: what its shortcut sees, if that is something else.
    """
    for layer in chain:
        x, beside = layer(x, beside), None
        yield x
