"""Chains of layers that the identity joins: with one threshold a channel for all of them, a spike passes one for one.

The first layer's threshold is rounded to its neurons' steps, and the next one's threshold is what a spike of the first stands
for, rounded to the next one's steps, as is the weight of the identity: the two are the same integer.
"""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from separator.snn.layers.analog import AnalogLayer


def is_joined(layer: nn.Module) -> bool:
    """Whether an analog layer adds its input to its sums."""
    return isinstance(layer, AnalogLayer) and isinstance(layer.shortcut, nn.Identity)


def chain_from(layers: Sequence[nn.Module], head: int) -> list[AnalogLayer]:
    """Analog layers that have thresholds in common with layer `head`, that one included; a readout has none."""
    chain: list[AnalogLayer] = []
    for layer in layers[head:-1]:
        if chain and not is_joined(layer):
            break
        assert isinstance(layer, AnalogLayer)
        chain.append(layer)
    return chain


def activations_of(chain: Sequence[AnalogLayer], x: Tensor) -> Iterator[Tensor]:
    """Activations of the layers, one after the other. Shape: x (B, ...) -> (B, ...) each."""
    for layer in chain:
        x = layer(x)
        yield x
