"""A penalty on activity: networks that fire less."""

import math

import torch
from torch import Tensor

from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.shapes import per_channel
from separator.snn.layers.signal import Signal
from separator.snn.learning.tandem import TandemLayer
from separator.snn.stack.stack import Stack


def density(activation: Tensor) -> Tensor:
    """Density (mean |a|)^2 / mean a^2 of an activation, a scalar; 0 for an activation that is zero everywhere."""
    # As abs(), but with a derivative at zero, as quantised activations have one there.
    sizes = torch.where(activation < 0, -activation, activation)
    return sizes.mean() ** 2 / (activation.square().mean() + 1e-12)


def fewest(sums: Tensor, most: int, window: int) -> Tensor:
    """Firing rate of neurons whose spikes come to these sums, of `most` at most, as a smooth function of them.

    Spikes of one count each are as many as the counts. Where they are worth several, binary digits are the measure: of a sum
    of 2^k - 1 they are k, so that a neuron that falls silent saves more than one that falls from many counts by as many.
    """
    return sums / most if most == window else (1 + sums).log2() / math.log2(1 + most)


class ActivityPenalty:
    """Activity of the layers of a stack that have an activation: a scalar between 0 and 1, the mean over them.

    Of a layer in tandem that is its firing rate, which synaptic operations are proportional to: spikes of either sign, whatever
    their coefficients, over neurons and steps. Of an analog one it is the density of its activation (after Hoyer 2004), which
    does not change when the layer is scaled, as the spike counts of a converted network do not (thresholds follow the
    activations): a penalty cannot be met by shrinking activations.

    It is measured from now on, or within a `with` statement.
    """

    def __init__(self, stack: Stack) -> None:
        self.measured: list[Tensor] = []
        self.hooks = []
        for layer in stack.layers:
            if isinstance(layer, TandemLayer):
                if layer.role != "readout":
                    self.hooks.append(layer.register_forward_hook(self._rate))
            elif isinstance(layer, AnalogLayer) and layer.activation is not None:
                self.hooks.append(layer.register_forward_hook(self._density))

    def __enter__(self) -> "ActivityPenalty":
        return self

    def __exit__(self, *error: object) -> None:
        """Measure no more."""
        for hook in self.hooks:
            hook.remove()

    def _density(self, layer: AnalogLayer, inputs: tuple[Tensor | Signal], output: Tensor) -> None:
        self.measured.append(density(output))

    def _rate(self, layer: TandemLayer, inputs: tuple[Signal], output: Signal) -> None:
        least, most = layer.dynamics.limits
        sums = output.activation / per_channel(layer.threshold, output.activation)
        if (least, most) == (0, layer.dynamics.window):  # spikes of 1
            rate = sums.mean() / most
        elif output.trains is not None:
            rate = output.trains.abs().mean()
        else:
            # Spikes that cancel out count as well, and one that is worth many counts once; the derivative is that of what the
            # sums would take without such.
            assert output.spikes is not None
            share = fewest(sums.abs(), most, layer.dynamics.window).mean()
            rate = share + (output.spikes.events.mean(dtype=sums.dtype) / layer.dynamics.window - share).detach()
        self.measured.append(rate)

    def pop(self) -> Tensor:
        """Mean over the layers since the last call; 0 where there were none."""
        measured, self.measured = self.measured, []
        return torch.stack(measured).mean() if measured else torch.zeros(())
