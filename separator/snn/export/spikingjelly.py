"""A pipelined spiking stack as a network of SpikingJelly's neurons (Fang et al. 2023): the same weights and spikes."""

from typing import Any

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.layers.shapes import per_channel
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.layers.twins import analog_numbers, analog_shortcut
from separator.snn.neurons.integrate_and_fire import IntegrateAndFire
from separator.snn.spikes.binary import BinarySpikes
from separator.snn.spikes.trains import LONGEST
from separator.snn.stack.graph import is_row
from separator.snn.stack.stack import Stack


def problem(stack: Stack) -> str | None:
    """Part of a stack that keeps it from being run there, in words; None if nothing does."""
    layers = stack.spiking_layers()
    if len(layers) < len(stack.layers):
        return "stacks that are not wholly spiking"
    if any(layer.dynamics.schedule != "pipelined" for layer in layers):
        return "layers that wait for all of their input, but pipelined ones only"
    if not all(type(layer.neuron) is IntegrateAndFire for layer in layers) or layers[0].dynamics.coding != "charge":
        return "other neurons than integrate-and-fire ones that are charged at the first step"
    if layers[0].dynamics.window > LONGEST:
        return f"runs of more than {LONGEST} time steps, of which its 32-bit potentials do not hold every quantum"
    if layers[-1].role != "readout":
        return "readouts of counts"
    return None if is_row(stack.sources) else "layers that see others than the one before"


class SpikingJellyStack(nn.Module):
    """Simulates all time steps of a layer at once, as SpikingJelly's multi-step mode does. Shapes: as of `Stack`.

    Numbers are in units of activation, in 32-bit floating point, of 64 bits where sums are long; they lie on the grid of the
    stack's integers, so that sums are exact here as well.

    Args:
        stack: wholly spiking and pipelined.

    Raises:
        UserError: the stack is of another kind, or SpikingJelly is not installed.
    """

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        try:
            from spikingjelly.activation_based import neuron
        except ImportError as error:
            raise UserError("SpikingJelly is not installed; `pip install spikingjelly` does it") from error
        if (reason := problem(stack)) is not None:
            raise UserError(f"SpikingJelly does not run {reason}")
        layers = stack.spiking_layers()
        self.read, self.dynamics, self.first = stack.read, layers[0].dynamics, layers[0]
        self.synapses = nn.ModuleList(_Synapses(layer) for layer in layers[1:])
        self.starts = [layer.initial_potential * layer.quantum for layer in layers[:-1]]
        self.nodes = nn.ModuleList()
        for layer in layers[:-1]:
            if bool((layer.scale == layer.scale[0]).all()):
                node = neuron.IFNode(float(layer.scale[0]), v_reset=None, step_mode="m")
            else:  # a threshold for each channel
                channels = 1 - layer.weight.dim()  # which dimension they are, counted from the last one
                node = neuron.ActivationAwareIFNode(layer.scale, channel_dim=channels, v_reset=None, step_mode="m")
            self.nodes.append(node)

    def forward(self, x: Tensor) -> Tensor:
        """Activation of the last layer from its membrane potential."""
        return self.read(self._potential(x))

    @torch.no_grad()
    def outcomes(self, x: Tensor) -> list[Tensor]:
        """Packed spike trains of each layer and the readout's potential, as `separator.snn.stack.stack.outcomes` has them."""
        seen: list[Tensor] = []
        hooks = [
            node.register_forward_hook(lambda _, __, trains: seen.append(BinarySpikes.pack(trains).words))
            for node in self.nodes
        ]
        try:
            seen.append(self._potential(x))
        finally:
            for hook in hooks:
                hook.remove()
        return seen

    def _potential(self, x: Tensor) -> Tensor:
        charge = self.first.charge(x)
        currents = charge.new_zeros(self.dynamics.window, *charge.shape)
        currents[0] = charge * per_channel(self.first.quantum, charge)
        nodes: Any = self.nodes
        for node, start, synapses in zip(nodes, self.starts, self.synapses, strict=True):
            node.reset()
            node.v = per_channel(start, currents[0]).expand_as(currents[0])
            currents = synapses(node(currents).flatten(0, 1)).unflatten(0, (self.dynamics.window, -1))
        return currents.sum(0).float()


class _Synapses(nn.Module):
    """Synapses that a time step's spikes go through, constant current included."""

    def __init__(self, layer: SpikingLayer) -> None:
        super().__init__()
        weight, bias = analog_numbers(layer)
        self.apply_affine = layer.apply_affine
        self.affine = layer.apply_affine.module(weight, bias).requires_grad_(False)
        self.shortcut, self.kind = analog_shortcut(layer), torch.float64 if layer.has_long_sums else torch.float32
        self.affine.to(self.kind)

    def forward(self, spikes: Tensor) -> Tensor:
        """Shape: (N_s B, C_in, ...) -> (N_s B, C_out, ...)."""
        spikes = spikes.to(self.kind)
        sums: Tensor = self.affine(self.apply_affine.flattened(spikes))
        return sums if self.shortcut is None else sums + self.shortcut.apply(spikes, self.shortcut.weight.to(self.kind), None)
